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
    /// - Throws: `HeadError`, `BackboneError` or `CenterStoreError` if it cannot be answered.
    package func content(of request: TransferRequest) throws -> TransferReply<[Tensor]>.Content {
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
        let count = chunkCount(of: slice)
        if count == 0, index == 0 {
            // A slice without rows is copied as one piece of nothing.
            let none = Tensor(zeros: Float.self, shape: [0])
            return .chunk(count: 1, step: committed, [none, none])
        }
        guard index >= 0, index < count else {
            throw HeadError(.centers, "piece \(index) of \(slice) is asked for, which has \(count)")
        }
        return .chunk(count: count, step: committed, try copy(ofChunk: index, of: slice))
    }

    /// Pieces of an owned slice.
    func chunkCount(of slice: SliceName) -> Int {
        switch slice {
        case .centers(let number): head.table.chunkCount(of: number)
        case .dense(let number): dense.chunkCount(ofSlice: number)
        }
    }

    /// Rows and momentum of a piece, in memory that nothing changes any more.
    func copy(ofChunk index: Int, of slice: SliceName) throws -> [Tensor] {
        switch slice {
        case .centers(let number):
            let count = head.table.rows(ofChunk: index, of: number).count
            return try head.table.withChunk(index, of: number) { rows, momentum in
                [(rows, head.table.format.rows), (momentum, head.table.format.momentum)].map { source, format in
                    let copy = Tensor(format, rowCount: count, width: head.table.embeddingSize)
                    if let base = source.baseAddress, source.count > 0 {
                        copy.rawPointer.copyMemory(from: base, byteCount: source.count)
                    }
                    return copy
                }
            }
        case .dense(let number):
            guard let (parameters, momentum) = dense.chunk(index, ofSlice: number) else {
                throw BackboneError(.invalidPayload, "\(slice) has no piece \(index)")
            }
            return [parameters, momentum]
        }
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
        if copies[slice] == nil { try beginCopy(of: slice) }
        guard var copy = copies[slice] else { return }
        guard payload.count == 2, count == max(1, copy.steps.count), index >= 0, index < count
        else {
            throw HeadError(
                .malformed, "piece \(index) of \(count) of \(slice) does not fit: it has \(copy.steps.count)")
        }
        if copy.steps.isEmpty {
            guard payload.allSatisfy({ $0.count == 0 }) else {
                throw HeadError(.malformed, "rows of \(slice) were received, which has none")
            }
            copies[slice]?.emptyStep = step
            return
        }
        try check(payload, slice, index)
        try fill(slice, index, copy, payload)
        try withExtendedLifetime(payload) {
            try copy.receipt?.write(
                chunk: index, step: step,
                rows: UnsafeRawBufferPointer(start: payload[0].rawPointer, count: payload[0].byteCount),
                momentum: UnsafeRawBufferPointer(start: payload[1].rawPointer, count: payload[1].byteCount))
        }
        copy.steps[index] = step
        copies[slice] = copy
    }

    /// Checks that the two tensors of a piece are what a copy of the slice has there.
    private func check(_ payload: [Tensor], _ slice: SliceName, _ index: Int) throws {
        let shape = shape(of: slice)
        let count = shape.rows(ofChunk: index).count
        for (tensor, format) in [(payload[0], shape.format.rows), (payload[1], shape.format.momentum)] {
            let expected = slice.isDense ? [count] : [count, format.extent(width: shape.width)]
            guard tensor.dtype == format.dtype, tensor.shape == expected else {
                throw HeadError(
                    .malformed,
                    "piece \(index) of \(slice) came as \(tensor.dtype) \(tensor.shape), expected \(format.dtype) \(expected)"
                )
            }
        }
    }

    private func fill(_ slice: SliceName, _ index: Int, _ copy: IncomingSlice, _ payload: [Tensor]) throws {
        switch slice {
        case .centers(let number):
            try head.table.withChunk(index, of: number) { rows, momentum in
                for (target, source) in [(rows, payload[0]), (momentum, payload[1])] {
                    target.copyMemory(from: UnsafeRawBufferPointer(start: source.rawPointer, count: source.byteCount))
                }
            }
        case .dense:
            guard let dense = copy.dense else { return }
            let start = index * DenseShard.chunkElements
            let range = start..<min(start + DenseShard.chunkElements, dense.parameters.count)
            dense.parameters.rows(range).rawPointer.copyMemory(
                from: payload[0].rawPointer, byteCount: payload[0].byteCount)
            dense.momentum.rows(range).rawPointer.copyMemory(
                from: payload[1].rawPointer, byteCount: payload[1].byteCount)
            withExtendedLifetime(dense) {}
        }
        withExtendedLifetime(payload) {}
    }

    private func beginCopy(of slice: SliceName) throws {
        var copy = IncomingSlice(steps: [])
        let shape = shape(of: slice)
        switch slice {
        case .centers(let number): try head.hold(number)
        case .dense:
            copy.dense = (
                Tensor(uninitialized: Float.self, shape: [shape.rowCount]),
                Tensor(uninitialized: Float.self, shape: [shape.rowCount])
            )
        }
        copy.steps = Array(repeating: nil, count: shape.chunkCount)
        do { copy.receipt = try store?.beginReceiving(slice, shape: shape, classVersion: classVersion) } catch {
            try discard(slice)
            throw error
        }
        copies[slice] = copy
    }

    /// How a slice is cut into pieces, with the classes that there are.
    func shape(of slice: SliceName) -> SliceShape { shape(of: slice, head.registry) }

    /// How it would be with the classes of `registry`.
    func shape(of slice: SliceName, _ registry: ClassRegistry) -> SliceShape {
        switch slice {
        case .centers(let number):
            SliceShape(
                rowCount: registry.layout.classes(of: number).count, width: setup.head.embeddingSize,
                chunkRows: head.table.chunkRows, format: head.table.format)
        case .dense(let number):
            SliceShape(
                rowCount: setup.layout.ranges(
                    ofSlices: [number], of: setup.denseSliceCount
                ).reduce(0) { $0 + $1.count }, width: 1, chunkRows: DenseShard.chunkElements)
        }
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
        switch slice {
        case .centers(let number):
            try replay(record, centers: [number], ahead: [number: copy.ahead])
        case .dense(let number):
            guard let (parameters, momentum) = copy.dense else { return }
            var part = try Self.denseShard(setup, [number], parameters: parameters, momentum: momentum)
            try replay(record, dense: &part, ahead: [number: copy.ahead], gradient: payload.first)
            copy.dense = (part.parameters, part.momentum)
        }
        try copy.receipt?.append(record)
        copy.advance(to: step)
        copies[slice] = copy
    }

    /// Forgets a copy.
    package func drop(_ slice: SliceName) throws {
        guard let copy = copies.removeValue(forKey: slice) else { return }
        try discard(slice)
        if copy.isHandedOver {
            try store?.forgetReceived([slice])
        } else {
            try copy.receipt?.discard()
        }
    }

    /// Frees the memory of a slice that is not owned.
    private func discard(_ slice: SliceName) throws {
        if case .centers(let number) = slice { try head.remove([number]) }
    }

    /// The step of each complete copy that is on the disk, if there is one.
    package var handedOver: [SliceName: Int] {
        copies.filter { $0.value.isHandedOver }.compactMapValues { $0.completeStep }
    }
}

extension Tensor {
    /// Uninitialised memory for rows that are kept in `format`.
    fileprivate init(_ format: NumberFormat, rowCount: Int, width: Int) {
        self.init(
            dtype: format.dtype, shape: [rowCount, format.extent(width: width)],
            storage: TensorStorage(byteCount: rowCount * format.byteCount(width: width)))
    }
}
