import Cluster
import StepProtocol
import Tensors
import Wire

/// Messages as plain bytes.
struct Frames: Equatable {
    var frames: [[UInt8]]

    init(_ frames: [[UInt8]]) { self.frames = frames }

    init(_ message: WireMessage, request: UInt64 = 1) throws {
        let encoded = try WireCodec.encode(message, request: request)
        frames = ([encoded.header] + encoded.tensors).map { tensor in
            Array(UnsafeRawBufferPointer(start: tensor.rawPointer, count: tensor.byteCount))
        }
    }

    /// Decodes, with each frame `offset` bytes behind an aligned address.
    func decoded(offset: Int = 0, limits: WireLimits = .client) throws(WireError) -> (
        request: UInt64, message: WireMessage
    ) {
        let storages = frames.map { bytes in
            let memory = TensorStorage(byteCount: bytes.count + offset)
            (memory.base + offset).copyMemory(from: bytes, byteCount: bytes.count)
            return TensorStorage(foreign: memory.base + offset, byteCount: bytes.count) { _ = memory }
        }
        let header = storages.first
        defer { withExtendedLifetime(header) {} }
        return try WireCodec.decode(
            header: UnsafeRawBufferPointer(start: header?.base, count: header?.byteCount ?? 0),
            frames: Array(storages.dropFirst()), limits: limits)
    }
}

/// The fields of a message without its tensors, to compare.
func fields(_ message: WireMessage) -> String {
    switch message {
    case .stepRequest(var request, let incarnation):
        request.payload = []
        return "\(request) \(incarnation)"
    case .stepReply(var reply):
        if case .done = reply.outcome { reply.outcome = .done([]) }
        return "\(reply)"
    case .transferReply(var reply):
        switch reply.content {
        case .chunk(let count, let step, _): reply.content = .chunk(count: count, step: step, [])
        case .record(let step, let header, _): reply.content = .record(step: step, header: header, [])
        case .upToDate, .gone: break
        }
        return "\(reply)"
    case .readRows, .rows: return message.name
    // A dictionary prints in any order.
    case .heartbeat(let heartbeat):
        let received = heartbeat.report?.received.sorted { $0.key < $1.key }
        var report = heartbeat.report
        let kept = report?.kept.sorted { $0.key < $1.key }
        report?.received = [:]
        report?.kept = [:]
        return "\(heartbeat.member) \(heartbeat.incarnation) \(heartbeat.statistics.sorted { $0.key < $1.key }) "
            + "\(heartbeat.notes.sorted { $0.key < $1.key }) \(String(describing: report)) "
            + "\(String(describing: received)) \(String(describing: kept)) \(String(describing: heartbeat.vote))"
    case .evaluation(let evaluation):
        return "\(evaluation.member) \(evaluation.incarnation) \(evaluation.step) \(evaluation.name) "
            + "\(evaluation.values.sorted { $0.key < $1.key }) \(evaluation.problem)"
    case .resultsDone(let done):
        let sets = done.evaluations.sorted { $0.key < $1.key }.map {
            "\($0.key) \($0.value.sorted { $0.key < $1.key })"
        }
        return "\(done.member) \(done.incarnation) \(done.id) \(done.problem) \(sets)"
    case .operatorRequest(let request):
        return "\(request.command) \(request.arguments.sorted { $0.key < $1.key })"
    case .sliceHashes(let hashes):
        return "\(hashes.step) \(hashes.slices.sorted { $0.key < $1.key }) "
            + "\(hashes.denseSlices.sorted { $0.key < $1.key })"
    default: return "\(message)"
    }
}

/// The tensors of a message, as bytes with their descriptions.
func tensors(_ message: WireMessage) -> [Tensor] {
    switch message {
    case .stepRequest(let request, _): request.payload
    case .stepReply(let reply): if case .done(let payload) = reply.outcome { payload } else { [] }
    case .transferReply(let reply):
        switch reply.content {
        case .chunk(_, _, let payload), .record(_, _, let payload): payload
        case .upToDate, .gone: []
        }
    case .readRows(let ids): [ids]
    case .rows(let rows, let kept, let steps): [rows, kept, steps]
    default: []
    }
}

func contents(_ tensor: Tensor) -> [UInt8] {
    Array(UnsafeRawBufferPointer(start: tensor.rawPointer, count: tensor.byteCount))
}
