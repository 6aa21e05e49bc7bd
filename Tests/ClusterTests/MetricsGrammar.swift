import Foundation

/// The rules of Prometheus' text format, and of its conventions for names, as far as these pages need them.
enum MetricsGrammar {
    /// What is wrong with a page; empty if nothing is.
    static func problems(_ text: String) -> [String] {
        var problems: [String] = []
        var types: [String: String] = [:]
        var helped: Set<String> = []
        var seen: Set<String> = []
        var current = ""
        if !text.hasSuffix("\n") { problems.append("the last line has no end") }
        for line in text.split(separator: "\n", omittingEmptySubsequences: false).dropLast() {
            if let match = line.wholeMatch(of: /# HELP ([a-z][a-z0-9_]*) (.+)/) {
                if !helped.insert(String(match.1)).inserted { problems.append("two families: \(line)") }
                if !match.2.hasSuffix(".") { problems.append("no sentence: \(line)") }
            } else if let match = line.wholeMatch(of: /# TYPE ([a-z][a-z0-9_]*) (counter|gauge|histogram)/) {
                current = String(match.1)
                if !helped.contains(current) { problems.append("no HELP before \(line)") }
                if types.updateValue(String(match.2), forKey: current) != nil { problems.append("twice: \(line)") }
                if (match.2 == "counter") != current.hasSuffix("_total") { problems.append("name and type: \(line)") }
            } else if let match = line.wholeMatch(
                of: /([a-z][a-z0-9_]*)(\{([a-z_]+="([^"\\\n]|\\["\\n])*",?)+\})? (NaN|[+-]Inf|-?[0-9.]+(e[+-]?[0-9]+)?)/
            ) {
                var family = String(match.1)
                if types[current] == "histogram" {
                    for suffix in ["_bucket", "_sum", "_count"] where family == current + suffix { family = current }
                }
                if family != current { problems.append("outside its family: \(line)") }
                if !seen.insert(String(match.1) + String(match.2 ?? "")).inserted { problems.append("twice: \(line)") }
            } else {
                problems.append("no line of the format: \(line)")
            }
        }
        if types.isEmpty { problems.append("no metrics") }
        return problems
    }
}
