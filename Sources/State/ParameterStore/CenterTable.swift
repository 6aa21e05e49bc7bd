internal import CKernels
public import Cluster
public import Determinism
public import Tensors

/// The class centers of any set of slices, with what the optimiser keeps beside them: what one shard holds.
///
/// Every slice has memory of its own: rows lie one after the other in the order of class ids, in the table's format. Slices
/// come and go without a copy of the others. One thread at a time may change the table.
public final class CenterTable {
    public private(set) var layout: SliceLayout
    /// Numbers per row.
    public let embeddingSize: Int
    /// How rows and the optimiser's planes are kept.
    public let format: TableFormat
    /// Where they are kept.
    public let memory: TableMemory
    /// The slices held here.
    public private(set) var slices: SliceSet = []

    private var held: [Int: HeldSlice] = [:]

    /// Standard deviation of the initial rows.
    public static let initialDeviation: Float = 0.01
    /// The largest embedding size.
    public static let embeddingLimit = 1 << 16

    /// Creates the table and fills `slices` from `source`, in parallel.
    ///
    /// - Throws: `CenterStoreError` if `slices` is not part of the layout, rows cannot be kept in this format, memory is
    ///   short, or the file does not fit.
    public init(
        layout: SliceLayout, embeddingSize: Int, format: TableFormat = .f32, memory: TableMemory = .anonymous,
        slices: SliceSet = [], source: CenterSource = .zeros, parallel: ParallelBlocks
    ) throws(CenterStoreError) {
        guard (1...Self.embeddingLimit).contains(embeddingSize) else {
            throw CenterStoreError(
                .layout, "the embedding size is \(embeddingSize); it must be in 1...\(Self.embeddingLimit)")
        }
        guard format.isPossible else {
            throw CenterStoreError(.layout, "rows cannot be kept as \(format.rows): use f32 or bf16")
        }
        self.layout = layout
        self.embeddingSize = embeddingSize
        self.format = format
        self.memory = memory
        try add(slices, from: source, parallel: parallel)
    }

    /// Memory of all planes, in bytes.
    public var memoryByteCount: Int { held.values.reduce(0) { $0 + $1.byteCount } }

    // MARK: Slices

    /// Rows of a held slice, 0 if it is not held.
    public func rowCount(of slice: Int) -> Int { held[slice]?.rowCount ?? 0 }

    /// The memory of a held slice.
    package func memory(of slice: Int) -> HeldSlice? { held[slice] }

    /// Takes slices up, filled from `source`.
    ///
    /// - Throws: `CenterStoreError` if a slice is held already or not part of the layout, memory is short, or the file does
    ///   not fit. None of the slices is held then.
    public func add(_ added: SliceSet, from source: CenterSource, parallel: ParallelBlocks) throws(CenterStoreError) {
        var new: [HeldSlice] = []
        for slice in try checked(added) {
            new.append(
                try HeldSlice(
                    number: slice, rowCount: layout.classes(of: slice).count, embeddingSize: embeddingSize,
                    format: format, memory: memory))
        }
        switch source {
        case .zeros: break
        case .random(let seed): fillRandom(new, from: [:], seed: seed, parallel: parallel)
        case .safeTensors(let path): try load(new, path: path)
        }
        for slice in new { held[slice.number] = slice }
        slices = slices.union(added)
    }

    /// Takes a slice up with `rowCount` rows of zeros, to be filled piece by piece. The count is that of the classes, or of
    /// the classes after operations that the table is still to be told of.
    ///
    /// - Throws: `CenterStoreError` if the slice is held already or not part of the layout, or memory is short.
    public func add(_ slice: Int, rowCount: Int) throws(CenterStoreError) {
        _ = try checked([slice])
        guard (layout.classes(of: slice).count...SliceLayout.classLimit).contains(rowCount) else {
            throw CenterStoreError(
                .layout, "slice \(slice) has \(layout.classes(of: slice).count) classes, not \(rowCount)")
        }
        held[slice] = try HeldSlice(
            number: slice, rowCount: rowCount, embeddingSize: embeddingSize, format: format, memory: memory)
        slices = slices.union([slice])
    }

    /// Gives slices up with their memory. Those that are not held are no matter.
    public func remove(_ removed: SliceSet) {
        for slice in removed.numbers { held[slice] = nil }
        slices = slices.subtracting(removed)
    }

    private func checked(_ added: SliceSet) throws(CenterStoreError) -> [Int] {
        guard added.bounds.lowerBound >= 0, added.bounds.upperBound <= layout.sliceCount else {
            throw CenterStoreError(.layout, "slices \(added) are not all among the \(layout.sliceCount) of the table")
        }
        guard added.isDisjoint(with: slices) else {
            throw CenterStoreError(.layout, "some of slices \(added) are held already: \(slices)")
        }
        return added.numbers
    }

    // MARK: Pieces

    /// Rows in a piece of a slice: 4 MiB of all planes together.
    public var chunkRows: Int { Self.chunkRows(embeddingSize: embeddingSize, format: format) }

    /// Rows in a piece of a slice: 4 MiB of all planes together.
    public static func chunkRows(embeddingSize: Int, format: TableFormat = .f32) -> Int {
        max(1, (4 << 20) / format.byteCount(width: embeddingSize))
    }

    /// In how many pieces a held slice is copied, saved and sent.
    public func chunkCount(of slice: Int) -> Int { (rowCount(of: slice) + chunkRows - 1) / chunkRows }

    /// The rows of piece `index` of a held slice.
    public func rows(ofChunk index: Int, of slice: Int) -> Range<Int> {
        let count = rowCount(of: slice)
        return min(max(index, 0) * chunkRows, count)..<min((max(index, 0) + 1) * chunkRows, count)
    }

    /// Calls `body` with the memory of piece `index`, plane by plane, to read or to write.
    ///
    /// - Throws: `CenterStoreError` if the slice is not held or has no such piece, and what `body` throws.
    public func withChunk<Result>(
        _ index: Int, of slice: Int,
        _ body: (_ planes: [UnsafeMutableRawBufferPointer]) throws -> Result
    ) throws -> Result {
        guard let memory = held[slice], index >= 0, index < chunkCount(of: slice) else {
            throw CenterStoreError(
                .notHeld, "piece \(index) of slice \(slice) is not here: it has \(chunkCount(of: slice)) pieces")
        }
        return try withExtendedLifetime(memory) { try body(memory.bytes(of: rows(ofChunk: index, of: slice))) }
    }

    /// Calls `body` with the memory of `range` of a slice's rows, plane by plane, to read or to write.
    ///
    /// - Throws: `CenterStoreError` if the slice is not held or has no such rows, and what `body` throws.
    public func withRows<Result>(
        _ range: Range<Int>, of slice: Int,
        _ body: (_ planes: [UnsafeMutableRawBufferPointer]) throws -> Result
    ) throws -> Result {
        guard let memory = held[slice], range.lowerBound >= 0, range.upperBound <= memory.rowCount else {
            throw CenterStoreError(.notHeld, "rows \(range) of slice \(slice) are not here: \(rowCount(of: slice))")
        }
        return try withExtendedLifetime(memory) { try body(memory.bytes(of: range)) }
    }

    // MARK: Growth

    /// Gives every held slice the rows of the classes that `layout` adds. Slices that have them already stay as they are.
    ///
    /// - Parameters:
    ///   - rows: of the added classes f32 [n, D], finite; nil for random ones of `seed`.
    ///   - layout: that of the table and one extent more.
    /// - Throws: `CenterStoreError` if the rows do not fit or memory is short; no row has changed or come then.
    public func grow(
        to layout: SliceLayout, rows: Tensor?, seed: UInt64, parallel: ParallelBlocks
    ) throws(CenterStoreError) {
        let added = self.layout.classCount..<layout.classCount
        if let rows {
            guard rows.dtype == .f32, rows.shape == [added.count, embeddingSize] else {
                throw CenterStoreError(
                    .classes,
                    "the rows of \(added.count) new classes are \(rows.dtype) \(rows.shape), expected f32 [\(added.count), \(embeddingSize)]"
                )
            }
            if let bad = firstNonFinite(rows, format.rows) {
                throw CenterStoreError(
                    .classes, "row \(bad / embeddingSize) of the new classes is not finite as \(format.rows)")
            }
        }
        var growing: [HeldSlice] = []
        var known: [Int: Int] = [:]
        for (number, slice) in held {
            let count = layout.classes(of: number).count
            if slice.rowCount >= count { continue }
            try slice.reserve(rowCount: count)
            known[number] = slice.rowCount
            growing.append(slice)
        }
        self.layout = layout
        for slice in growing { slice.rowCount = layout.classes(of: slice.number).count }
        if let rows {
            copy(rows, first: added.lowerBound, to: growing, from: known, plane: 0)
        } else {
            fillRandom(growing, from: known, seed: seed, parallel: parallel)
        }
    }

    // MARK: Filling

    private func fillRandom(_ slices: [HeldSlice], from first: [Int: Int], seed: UInt64, parallel: ParallelBlocks) {
        let (size, block, format) = (embeddingSize, 256, format.rows)
        var blocks: [(slice: HeldSlice, classes: SliceClasses, rows: Range<Int>)] = []
        for slice in slices {
            let classes = layout.classes(of: slice.number)
            for start in stride(from: first[slice.number] ?? 0, to: slice.rowCount, by: block) {
                blocks.append((slice, classes, start..<min(start + block, slice.rowCount)))
            }
        }
        let work = blocks
        parallel.forEach(work.count) { index, _ in
            let (slice, classes, rows) = work[index]
            withUnsafeTemporaryAllocation(of: Float.self, capacity: size) { values in
                guard let base = values.baseAddress else { return }
                for row in rows {
                    var random = KeyedRandom(seed: seed, purpose: .centerInitialization, UInt64(classes.id(ofRow: row)))
                    pfc_head_normal_row(random.next(), Self.initialDeviation, size, base)
                    format.encode(base, count: 1, width: size, to: slice.rows.base + row * slice.rowByteCount)
                }
            }
        }
    }

    private func load(_ slices: [HeldSlice], path: String) throws(CenterStoreError) {
        do {
            let file = try SafeTensorsFile(path)
            for (index, plane) in format.planes.enumerated() {
                let name = index == 0 ? "centers" : plane.name
                if index > 0, file.shape(name) == nil { continue }
                guard index == 0 || format.state.count == 1 else {
                    throw CenterStoreError(
                        .file,
                        "\(path): has a tensor \(name); what this optimiser keeps begins with the run, as its bias correction does: leave it out"
                    )
                }
                try copy(file.floats(name), named: name, path: path, to: slices, plane: index)
            }
        } catch let error as SafeTensorsError {
            throw CenterStoreError(.file, error.description)
        } catch let error as CenterStoreError {
            throw error
        } catch {
            throw CenterStoreError(.file, "\(path): \(error)")
        }
    }

    private func copy(
        _ tensor: Tensor, named name: String, path: String, to slices: [HeldSlice], plane: Int
    ) throws(CenterStoreError) {
        let width = format.planes[plane].width(of: embeddingSize)
        let format = format.planes[plane].format
        guard tensor.shape == [layout.classCount, width] else {
            throw CenterStoreError(
                .file,
                "\(path): tensor \(name) has shape \(tensor.shape); the configuration needs [\(layout.classCount), \(width)]"
            )
        }
        for slice in slices {
            for range in layout.classes(of: slice.number).ranges {
                if let bad = firstNonFinite(tensor.rows(range), format) {
                    throw CenterStoreError(
                        .file,
                        "\(path): tensor \(name) is not finite as \(format) for class \(range.lowerBound + bad / width)"
                    )
                }
            }
        }
        copy(tensor, first: 0, to: slices, from: [:], plane: plane)
    }

    /// Encodes rows of the classes from `first` on into those rows of a plane of the slices that are not known.
    private func copy(
        _ tensor: Tensor, first: Int, to slices: [HeldSlice], from known: [Int: Int], plane: Int
    ) {
        let source = tensor.buffer(Float.self)
        let width = format.planes[plane].width(of: embeddingSize)
        let format = format.planes[plane].format
        let rowBytes = format.byteCount(width: width)
        for slice in slices {
            let classes = layout.classes(of: slice.number)
            for range in classes.ranges {
                let wanted = max(range.lowerBound, first)..<max(range.upperBound, first)
                guard !wanted.isEmpty, let row = classes.row(ofClass: wanted.lowerBound) else { continue }
                let skipped = min(max(0, (known[slice.number] ?? 0) - row), wanted.count)
                let count = wanted.count - skipped
                guard count > 0, let base = source.baseAddress else { continue }
                format.encode(
                    base + (wanted.lowerBound + skipped - first) * width, count: count, width: width,
                    to: slice.planes[plane].base + (row + skipped) * rowBytes)
            }
        }
        withExtendedLifetime(tensor) {}
    }

    private func firstNonFinite(_ tensor: Tensor, _ format: NumberFormat) -> Int? {
        withExtendedLifetime(tensor) {
            tensor.buffer(Float.self).baseAddress.flatMap { format.firstNonFinite($0, count: tensor.count) }
        }
    }
}
