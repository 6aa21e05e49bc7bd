internal import CWire
import StepProtocol
import Tensors

extension Encoder {
    func transferRequest(
        _ request: TransferRequest
    ) throws -> UnsafeMutablePointer<Partialfc__TransferRequest> {
        try arena.make(partialfc__transfer_request__init) {
            $0.slice = try sliceName(request.slice)
            $0.term = try Field.number(request.term, "term")
            $0.map_version = try Field.number(request.mapVersion, "map_version")
            switch request.part {
            case .chunk(let index):
                $0.chunk = try Field.number(index, "chunk")
                $0.part_case = PARTIALFC__TRANSFER_REQUEST__PART_CHUNK
            case .record(let step):
                $0.record_after = try Field.orNone(step, "record_after")
                $0.part_case = PARTIALFC__TRANSFER_REQUEST__PART_RECORD_AFTER
            }
        }
    }

    func transferReply(
        _ reply: TransferReply<[Tensor]>
    ) throws -> UnsafeMutablePointer<Partialfc__TransferReply> {
        try Field.answers(reply)
        return try arena.make(partialfc__transfer_reply__init) {
            $0.slice = try sliceName(reply.slice)
            switch reply.part {
            case .chunk(let index):
                $0.chunk = try Field.number(index, "chunk")
                $0.part_case = PARTIALFC__TRANSFER_REPLY__PART_CHUNK
            case .record(let step):
                $0.record_after = try Field.orNone(step, "record_after")
                $0.part_case = PARTIALFC__TRANSFER_REPLY__PART_RECORD_AFTER
            }
            switch reply.content {
            case .chunk(let count, let step, _):
                $0.piece = try arena.make(partialfc__transfer_reply__chunk__init) {
                    $0.count = try Field.number(count, "count")
                    $0.step = try Field.orNone(step, "step")
                }
                $0.content_case = PARTIALFC__TRANSFER_REPLY__CONTENT_PIECE
            case .record(let step, let text, _):
                $0.record = try arena.make(partialfc__transfer_reply__record__init) {
                    $0.step = try Field.orNone(step, "step")
                    $0.header = try arena.text(text, "header", limit: Bound.detailBytes)
                }
                $0.content_case = PARTIALFC__TRANSFER_REPLY__CONTENT_RECORD
            case .upToDate(let step):
                $0.up_to_date = try Field.orNone(step, "up_to_date")
                $0.content_case = PARTIALFC__TRANSFER_REPLY__CONTENT_UP_TO_DATE
            case .gone:
                $0.gone = arena.make(partialfc__acknowledged__init)
                $0.content_case = PARTIALFC__TRANSFER_REPLY__CONTENT_GONE
            }
        }
    }
}

extension TransferReply.Content where Payload == [Tensor] {
    /// The tensors of the message.
    var payload: [Tensor] {
        switch self {
        case .chunk(_, _, let payload), .record(_, _, let payload): payload
        case .upToDate, .gone: []
        }
    }
}

extension Field {
    /// Whether the content is one that the part can have: a chunk has pieces, a record has not.
    static func answers<Payload>(_ reply: TransferReply<Payload>) throws {
        switch (reply.part, reply.content) {
        case (.chunk(let index), .chunk(let count, _, _)):
            guard index < count else { throw WireError(.field, "chunk \(index) of count \(count)") }
        case (.record, .record), (.record, .upToDate), (_, .gone): break
        case (.chunk, _): throw WireError(.field, "content of the reply is no piece, but a chunk was asked for")
        case (.record, .chunk): throw WireError(.field, "content of the reply is a piece, but a record was asked for")
        }
    }
}
