/// Numbers with what they count, for people.
package enum Count {
    /// `1 worker`, `2 workers`.
    package static func of(_ count: Int, _ noun: String, _ plural: String? = nil) -> String {
        "\(count) \(count == 1 ? noun : plural ?? noun + "s")"
    }

    /// `8 slices and 2 dense slices`; the kind of which there are none is left out.
    package static func slices(_ centers: Int, _ dense: Int) -> String {
        let parts = [(centers, "slice"), (dense, "dense slice")].filter { $0.0 > 0 }.map { of($0.0, $0.1) }
        return parts.isEmpty ? "no slices" : parts.joined(separator: " and ")
    }
}
