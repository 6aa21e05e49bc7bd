/// Which kernels a process's libraries chose for its processor, as members say it: `openblas Haswell, onednn avx2`.
///
/// Members do not all use the same libraries: a shard multiplies matrices, a worker convolves as well. What two of them have in
/// common must be the same; but for `head`, the head's own kernels, all of which give the same bits.
public struct KernelChoice: Sendable, Hashable {
    /// The library of the head's own kernels.
    public static let head = "head"

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
        let (ours, theirs) = (decisive, other.decisive)
        if ours.isEmpty && theirs.isEmpty { return true }
        let common = ours.compactMap { part in
            theirs.first { $0.library == part.library }.map { $0.kernels == part.kernels }
        }
        return !common.isEmpty && common.allSatisfy { $0 }
    }

    /// This choice, and that of the other's libraries which it does not name. Those of `head` do not count.
    public func union(_ other: KernelChoice) -> KernelChoice {
        var union = self
        union.parts = decisive + other.decisive.filter { part in !parts.contains { $0.library == part.library } }
        return union
    }

    /// The kernels of a library, if it is named.
    public func kernels(of library: String) -> String? {
        parts.first { $0.library == library }.map { String($0.kernels) }
    }

    /// Those on which bits depend.
    private var decisive: [Part] { parts.filter { $0.library != Self.head } }
}

extension KernelChoice: CustomStringConvertible {
    public var description: String {
        parts.map { $0.library.isEmpty ? "\($0.kernels)" : "\($0.library) \($0.kernels)" }.joined(separator: ", ")
    }
}
