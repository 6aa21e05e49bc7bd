/// Which kernels a process's libraries chose for its processor, as members say it: `openblas Haswell, onednn avx2`.
///
/// Members do not all use the same libraries: a shard multiplies matrices, a worker convolves as well. What two of them have in
/// common must be the same.
public struct KernelChoice: Sendable, Hashable {
    /// Library and kernels, in the order in which they were said.
    private var parts: [Part] = []

    private struct Part: Sendable, Hashable {
        var library: Substring
        var kernels: Substring
    }

    /// Text without commas and spaces is that of one library without a name.
    public init(_ text: String) {
        for part in text.split(separator: ",") {
            let words = part.drop { $0 == " " }.split(separator: " ", maxSplits: 1)
            guard let last = words.last else { continue }
            parts.append(Part(library: words.count > 1 ? words[0] : "", kernels: last))
        }
    }

    /// Whether both name a library in common, and the same kernels for all that they have in common. Those of nobody agree.
    public func agrees(with other: KernelChoice) -> Bool {
        if parts.isEmpty && other.parts.isEmpty { return true }
        let common = parts.compactMap { part in
            other.parts.first { $0.library == part.library }.map { $0.kernels == part.kernels }
        }
        return !common.isEmpty && common.allSatisfy { $0 }
    }

    /// This choice, and that of the other's libraries which it does not name.
    public func union(_ other: KernelChoice) -> KernelChoice {
        var union = self
        union.parts += other.parts.filter { part in !parts.contains { $0.library == part.library } }
        return union
    }
}

extension KernelChoice: CustomStringConvertible {
    public var description: String {
        parts.map { $0.library.isEmpty ? "\($0.kernels)" : "\($0.library) \($0.kernels)" }.joined(separator: ", ")
    }
}
