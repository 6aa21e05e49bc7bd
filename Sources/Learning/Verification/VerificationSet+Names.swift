internal import Foundation

extension VerificationSet {
    /// The sets with names that differ: of files of one name, as much of their folders as tells them apart.
    public static func distinguished(_ sets: [VerificationSet]) -> [VerificationSet] {
        var sets = sets
        for (_, group) in Dictionary(grouping: sets.indices, by: { sets[$0].name }) where group.count > 1 {
            let parts = group.map { Self.parts(sets[$0]) }
            let longest = parts.map(\.count).max() ?? 1
            for length in 2...max(2, longest) {
                let names = parts.map { $0.suffix(length).joined(separator: "/") }
                guard Set(names).count == names.count || length >= longest else { continue }
                for (index, name) in zip(group, names) { sets[index].name = name }
                break
            }
        }
        // The same file twice, or a name that another one has already.
        var used: Set<String> = []
        for index in sets.indices {
            var name = sets[index].name
            var number = 2
            while !used.insert(name).inserted {
                name = "\(sets[index].name) (\(number))"
                number += 1
            }
            sets[index].name = name
        }
        return sets
    }

    /// The folders of the set's file, and its name.
    private static func parts(_ set: VerificationSet) -> [String] {
        guard let path = set.path else { return [set.name] }
        let whole = URL(fileURLWithPath: path).standardizedFileURL.deletingLastPathComponent().path
        return whole.split(separator: "/").map(String.init) + [set.name]
    }
}
