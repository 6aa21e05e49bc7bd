internal import CWire
import StepProtocol
import Tensors

extension Decoder {
    static func transferRequest(_ c: Partialfc__TransferRequest) throws -> TransferRequest {
        let part: TransferRequest.Part
        switch c.part_case {
        case PARTIALFC__TRANSFER_REQUEST__PART_CHUNK: part = .chunk(try Field.number(c.chunk, "chunk"))
        case PARTIALFC__TRANSFER_REQUEST__PART_RECORD_AFTER:
            part = .record(after: try Field.orNone(c.record_after, "record_after"))
        default: throw WireError(.field, "part is missing")
        }
        return TransferRequest(
            slice: try sliceName(c.slice), term: try Field.number(c.term, "term"),
            mapVersion: try Field.number(c.map_version, "map_version"), part: part)
    }

    static func transferReply(
        _ c: Partialfc__TransferReply, payload: [Tensor]
    ) throws -> TransferReply<[Tensor]> {
        let part: TransferRequest.Part
        switch c.part_case {
        case PARTIALFC__TRANSFER_REPLY__PART_CHUNK: part = .chunk(try Field.number(c.chunk, "chunk"))
        case PARTIALFC__TRANSFER_REPLY__PART_RECORD_AFTER:
            part = .record(after: try Field.orNone(c.record_after, "record_after"))
        default: throw WireError(.field, "part is missing")
        }
        let content: TransferReply<[Tensor]>.Content
        var hasTensors = true
        switch c.content_case {
        case PARTIALFC__TRANSFER_REPLY__CONTENT_PIECE:
            let piece = try Field.required(c.piece, "piece")
            content = .chunk(
                count: try Field.number(piece.count, "count"), step: try Field.orNone(piece.step, "step"), payload)
        case PARTIALFC__TRANSFER_REPLY__CONTENT_RECORD:
            let record = try Field.required(c.record, "record")
            content = .record(
                step: try Field.orNone(record.step, "step"),
                header: try text(record.header, "header", limit: Bound.detailBytes), payload)
        case PARTIALFC__TRANSFER_REPLY__CONTENT_UP_TO_DATE:
            hasTensors = false
            content = .upToDate(step: try Field.orNone(c.up_to_date, "up_to_date"))
        case PARTIALFC__TRANSFER_REPLY__CONTENT_GONE:
            hasTensors = false
            content = .gone
        default: throw WireError(.field, "content is missing")
        }
        guard hasTensors || payload.isEmpty else {
            throw WireError(
                .tensor, "a transfer_reply without a piece or record has no tensors, but \(payload.count) came with it")
        }
        let reply = TransferReply(slice: try sliceName(c.slice), part: part, content: content)
        try Field.answers(reply)
        return reply
    }
}
