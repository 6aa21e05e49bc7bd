/// What the products of features and class centers are computed in. Sums are f32 in all cases.
public enum Compute: String, Codable, Sendable, Hashable, CaseIterable {
    /// Single precision, by OpenBLAS: the bits depend on the kernels that it chooses.
    case f32
    /// Factors are rounded to bf16.
    case bf16
    /// Single precision, by fused multiply-adds in an order of our own: the same bits on every processor.
    case fma

    /// Whether embeddings of so many numbers can be multiplied in it: the kernels in bf16 take 16 numbers at a time.
    public func suits(embeddingSize: Int) -> Bool { self != .bf16 || embeddingSize % 16 == 0 }
}
