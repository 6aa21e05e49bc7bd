/// What the products of features and class centers are computed in. Sums are f32 in both cases.
public enum Compute: String, Codable, Sendable, Hashable, CaseIterable {
    case f32
    /// Factors are rounded to bf16.
    case bf16

    /// Whether embeddings of so many numbers can be multiplied in it: the kernels in bf16 take 16 numbers at a time.
    public func suits(embeddingSize: Int) -> Bool { self == .f32 || embeddingSize % 16 == 0 }
}
