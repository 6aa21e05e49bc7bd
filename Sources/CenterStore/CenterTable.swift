internal import CKernels
public import Determinism
internal import Tensors

/// The class centers of a contiguous range of slices, with their momentum: what one shard holds.
///
/// Rows lie one after the other in the order of class ids, 32-bit floats, in memory aligned to a page. One thread at a
/// time may change the table.
public final class CenterTable {
    public let layout: SliceLayout
    /// Floats per row.
    public let embeddingSize: Int
    /// The slices held here.
    public let slices: Range<Int>
    /// The classes of these slices.
    public let classes: Range<Int>

    package let rows: HugeBuffer
    package let momentum: HugeBuffer

    /// Standard deviation of the initial rows.
    public static let initialDeviation: Float = 0.01

    /// Creates the table and fills it from `source`, in parallel.
    ///
    /// - Throws: `CenterStoreError` if `slices` is not part of the layout, memory is short, or the file does not fit.
    public init(
        layout: SliceLayout, embeddingSize: Int, slices: Range<Int>, source: CenterSource, parallel: ParallelBlocks
    ) throws(CenterStoreError) {
        guard slices.lowerBound >= 0, slices.upperBound <= layout.sliceCount else {
            throw CenterStoreError(.layout, "slices \(slices) are not all among the \(layout.sliceCount) of the table")
        }
        guard (1...Self.embeddingLimit).contains(embeddingSize) else {
            throw CenterStoreError(
                .layout, "the embedding size is \(embeddingSize); it must be in 1...\(Self.embeddingLimit)")
        }
        self.layout = layout
        self.embeddingSize = embeddingSize
        self.slices = slices
        classes = layout.classes(of: slices)
        rows = try HugeBuffer(count: classes.count * embeddingSize)
        momentum = try HugeBuffer(count: classes.count * embeddingSize)
        switch source {
        case .random(let seed): fillRandom(seed: seed, parallel: parallel)
        case .safeTensors(let path): try load(path: path)
        }
    }

    /// The largest embedding size.
    public static let embeddingLimit = 1 << 16

    /// Memory of rows and momentum, in bytes.
    public var memoryByteCount: Int { 2 * classes.count * embeddingSize * MemoryLayout<Float>.stride }

    private func fillRandom(seed: UInt64, parallel: ParallelBlocks) {
        let (rows, classes, size) = (rows, classes, embeddingSize)
        let block = 256
        parallel.forEach((classes.count + block - 1) / block) { index, _ in
            for row in index * block..<min((index + 1) * block, classes.count) {
                var random = KeyedRandom(
                    seed: seed, purpose: .centerInitialization, UInt64(classes.lowerBound + row))
                pfc_head_normal_row(random.next(), Self.initialDeviation, size, rows.base + row * size)
            }
        }
    }

    private func load(path: String) throws(CenterStoreError) {
        do {
            let file = try SafeTensors(contentsOf: path)
            try copy(file.tensor("centers", .f32, in: path), named: "centers", path: path, to: rows)
            if file.tensors["momentum"] != nil {
                try copy(file.tensor("momentum", .f32, in: path), named: "momentum", path: path, to: momentum)
            }
        } catch let error as SafeTensorsError {
            throw CenterStoreError(.file, error.description)
        } catch let error as CenterStoreError {
            throw error
        } catch {
            throw CenterStoreError(.file, "\(path): \(error)")
        }
    }

    private func copy(_ tensor: Tensor, named name: String, path: String, to buffer: HugeBuffer)
        throws(CenterStoreError)
    {
        guard tensor.shape == [layout.classCount, embeddingSize] else {
            throw CenterStoreError(
                .file,
                "\(path): tensor \(name) has shape \(tensor.shape); the configuration needs [\(layout.classCount), \(embeddingSize)]"
            )
        }
        let part = tensor.rows(classes)
        let source = part.buffer(Float.self)
        let bad = pfc_head_first_nonfinite(source.baseAddress, source.count)
        guard bad < 0 else {
            throw CenterStoreError(
                .file, "\(path): tensor \(name) is not finite for class \(classes.lowerBound + bad / embeddingSize)")
        }
        if let base = source.baseAddress, !source.isEmpty { buffer.base.update(from: base, count: source.count) }
    }
}
