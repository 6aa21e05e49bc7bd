/// Names of keys.
enum ConfigurationKey {
    /// `sampleRate` as it is written in a file: `sample_rate`.
    static func snake(_ name: String) -> String {
        name.reduce(into: "") { $0 += $1.isUppercase ? "_" + $1.lowercased() : String($1) }
    }

    /// The known key that somebody may have meant, nil if none is near.
    ///
    /// - Parameters:
    ///   - key: what was written, dotted.
    ///   - known: every key and section, dotted.
    static func nearest(to key: String, among known: [String]) -> String? {
        let wanted = plain(key)
        let last = wanted.split(separator: ".").last.map(String.init) ?? wanted
        var best: (key: String, distance: Int)?
        for candidate in known.sorted() where !wanted.hasPrefix(candidate + ".") {
            let name = candidate.split(separator: ".").last.map(String.init) ?? candidate
            // The right name in a wrong section counts as one mistake.
            let distance = min(distance(wanted, candidate), 1 + self.distance(last, name))
            let limit = max(1, min(wanted.count, candidate.count) / 3)
            let isNear = distance <= limit || (last == name && distance <= 1)
            if isNear, distance < best?.distance ?? .max { best = (candidate, distance) }
        }
        return best?.key
    }

    /// Without what people write differently: `sampleRate`, `Sample-Rate`.
    private static func plain(_ key: String) -> String {
        let parts = key.prefix(100).split(separator: ".", omittingEmptySubsequences: false).map { part in
            let dashed = String(part.map { $0 == "-" || $0 == " " ? "_" : $0 })
            // SAMPLE_RATE is not camel case.
            let isShouted = !dashed.contains { $0.isLowercase }
            var name = isShouted ? dashed.lowercased() : snake(dashed)
            while name.hasPrefix("_") { name.removeFirst() }
            while name.contains("__") { name = name.split(separator: "_").joined(separator: "_") }
            return name
        }
        return parts.joined(separator: ".")
    }

    /// How many letters must be inserted, left out, changed or swapped with the next (Damerau and Levenshtein).
    private static func distance(_ first: String, _ second: String) -> Int {
        let (a, b) = (Array(first), Array(second))
        var rows = [[Int]](repeating: [Int](repeating: 0, count: b.count + 1), count: a.count + 1)
        for i in 0...a.count { rows[i][0] = i }
        for j in 0...b.count { rows[0][j] = j }
        for i in a.indices {
            for j in b.indices {
                var least = min(rows[i][j + 1] + 1, rows[i + 1][j] + 1, rows[i][j] + (a[i] == b[j] ? 0 : 1))
                if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] { least = min(least, rows[i - 1][j - 1] + 1) }
                rows[i + 1][j + 1] = least
            }
        }
        return rows[a.count][b.count]
    }
}
