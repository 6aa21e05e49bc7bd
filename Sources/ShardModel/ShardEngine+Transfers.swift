package import Cluster
internal import Model
internal import ParameterStore
internal import PartialFC
package import StepProtocol
package import Tensors

/// Slices on their way: what the shard gives, and what it receives.
extension ShardEngine {
    // MARK: Giving

    /// The answer to another shard's request. No uncommitted update may be applied if it asks for a piece.
    ///
    /// - Parameter planned: the operations on the classes by the plan; nil for as many as this shard has done.
    /// - Throws: `HeadError`, `BackboneError` or `CenterStoreError` if it cannot be answered.
    package func content(
        of request: TransferRequest, classVersion planned: Int? = nil
    ) throws -> TransferReply<[Tensor]>.Content {
        guard planned ?? classVersion == classVersion else {
            throw HeadError(.phase, "\(request.slice) is asked for while the classes change")
        }
        guard owns(request.slice) else {
            throw HeadError(.centers, "\(request.slice) is asked for, which this shard does not own")
        }
        switch request.part {
        case .chunk(let index):
            guard prepared == nil, !head.isTableProvisional else {
                throw HeadError(.phase, "a piece of \(request.slice) is asked for while an update is not committed")
            }
            return try chunk(index, of: request.slice)
        case .record(let after):
            if after >= committed { return .upToDate(step: committed) }
            guard let record = try record(ofStep: after + 1), isAbout(request.slice, record.header) else {
                return .gone
            }
            let part = try record.restricted(to: request.slice, dense: dense)
            return .record(step: record.header.step, header: part.header.json, part.tensors)
        }
    }

    private func owns(_ slice: SliceName) -> Bool {
        (slice.isDense ? denseSlices : slices).contains(slice.number)
    }

    private func isAbout(_ slice: SliceName, _ header: LogRecord.Header) -> Bool {
        header.kind == .skip || (slice.isDense ? header.denseSlices : header.slices).contains(slice.number)
    }

    private func chunk(_ index: Int, of slice: SliceName) throws -> TransferReply<[Tensor]>.Content {
        let shape = shape(of: slice)
        let count = shape.chunkCount
        if count == 0, index == 0 {
            // A slice without rows is copied as one piece of nothing.
            let none = Tensor(zeros: Float.self, shape: [0])
            return .chunk(count: 1, step: committed, shape.format.planes.map { _ in none })
        }
        guard index >= 0, index < count else {
            throw HeadError(.centers, "piece \(index) of \(slice) is asked for, which has \(count)")
        }
        return .chunk(count: count, step: committed, try holder(of: slice).copy(ofChunk: index, ofSlice: slice.number))
    }

    /// What was logged of a committed step, nil if it is not kept any more.
    private func record(ofStep step: Int) throws -> LogRecord? {
        guard let store else { return recent.first { $0.header.step == step && $0.isStep } }
        var records = store.records(after: step - 1, upTo: step)
        while let record = try records.next() { if record.isStep { return record } }
        return nil
    }

    // MARK: Receiving

    /// Takes a piece of a slice that is on its way here.
    ///
    /// - Throws: `HeadError`, `BackboneError` or `CenterStoreError` if it does not fit or cannot be kept: the copy begins anew.
    package func storeChunk(
        _ slice: SliceName, index: Int, count: Int, step: Int, _ payload: [Tensor]
    ) throws {
        if owns(slice) { throw HeadError(.centers, "\(slice) is received, which this shard owns") }
        if copies[slice]?.isHandedOver == true { try drop(slice) }
        try check(payload, slice, index, of: count)
        if copies[slice] == nil { try beginCopy(of: slice) }
        guard var copy = copies[slice] else { return }
        guard copy.steps.count == shape(of: slice).chunkCount else {
            throw HeadError(.malformed, "\(slice) has other pieces than when its copy was begun")
        }
        if copy.steps.isEmpty {
            copies[slice]?.emptyStep = step
            return
        }
        try withExtendedLifetime(payload) {
            let sources = payload.map(\.bytes)
            try holder(of: slice).fill(index, ofSlice: slice.number, from: sources)
            try copy.receipt?.write(chunk: index, step: step, planes: sources)
        }
        copy.steps[index] = step
        copies[slice] = copy
    }

    /// Checks that the tensors of a piece are what a copy of the slice has there.
    func check(_ payload: [Tensor], _ slice: SliceName, _ index: Int, of given: Int) throws {
        let shape = shape(of: slice)
        guard payload.count == shape.format.planes.count, given == max(1, shape.chunkCount), index >= 0, index < given
        else {
            throw HeadError(
                .malformed, "piece \(index) of \(given) of \(slice) does not fit: it has \(shape.chunkCount)")
        }
        if shape.chunkCount == 0 {
            guard payload.allSatisfy({ $0.count == 0 }) else {
                throw HeadError(.malformed, "rows of \(slice) were received, which has none")
            }
            return
        }
        let count = shape.rows(ofChunk: index).count
        for (tensor, plane) in zip(payload, shape.format.planes) {
            let expected =
                slice.isDense ? [count] : [count, plane.format.extent(width: plane.width(of: shape.width))]
            guard tensor.dtype == plane.format.dtype, tensor.shape == expected else {
                throw HeadError(
                    .malformed,
                    "piece \(index) of \(slice) has \(plane.name) as \(tensor.dtype) \(tensor.shape), expected \(plane.format.dtype) \(expected)"
                )
            }
        }
    }

    private func beginCopy(of slice: SliceName) throws {
        var copy = IncomingSlice(steps: [])
        let shape = shape(of: slice)
        try holder(of: slice).hold(slice.number, shape: shape)
        copy.steps = Array(repeating: nil, count: shape.chunkCount)
        do { copy.receipt = try store?.beginReceiving(slice, shape: shape, classVersion: classVersion) } catch {
            try holder(of: slice).remove([slice.number])
            throw error
        }
        copies[slice] = copy
    }

    /// Does a step again on a copy: pieces that are ahead of it stay as they are.
    ///
    /// - Throws: `HeadError`, `BackboneError` or `CenterStoreError` if the record does not fit or cannot be kept: the copy begins
    ///   anew.
    package func replay(_ slice: SliceName, step: Int, header: String, _ payload: [Tensor]) throws {
        // A hand-over that was called off does not end the copy, unless it is from before a restart.
        guard var copy = copies[slice], store == nil || copy.receipt != nil else {
            throw HeadError(.centers, "step \(step) of \(slice) was received, of which there is no copy")
        }
        let header = try LogRecord.Header(json: header)
        guard header.step == step, header.kind != .classes else {
            throw HeadError(.malformed, "the record of step \(header.step) was received as that of step \(step)")
        }
        let record = LogRecord(header: header, tensors: payload)
        try replay(record, on: [slice], ahead: [slice: copy.ahead])
        try copy.receipt?.append(record)
        copy.advance(to: step)
        copies[slice] = copy
    }

    /// Forgets a copy.
    package func drop(_ slice: SliceName) throws {
        guard let copy = copies.removeValue(forKey: slice) else { return }
        try holder(of: slice).remove([slice.number])
        if copy.isHandedOver {
            try store?.forgetReceived([slice])
        } else {
            try copy.receipt?.discard()
        }
    }

    /// The step of each complete copy that is on the disk, if there is one.
    package var handedOver: [SliceName: Int] {
        copies.filter { $0.value.isHandedOver }.compactMapValues { $0.completeStep }
    }
}
