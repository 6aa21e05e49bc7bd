import Cluster

/// What `coordinator set` is to change, by name: `lr`, or a value of the head.
struct Assignments {
    var rate: LearningRateRule?
    var head: HeadOrder?

    /// Why nothing can be set.
    struct Invalid: Error, CustomStringConvertible {
        var description: String
    }

    /// Everything that can be set.
    static let names = ["lr"] + HeadValues.Name.allCases.map(\.rawValue)

    /// - Throws: an error that says what is wrong with a name or a value, and what is allowed.
    init(_ values: [String: String]) throws {
        guard !values.isEmpty else {
            throw Invalid(description: "what is to be set? One or more of \(Self.names.joined(separator: ", "))")
        }
        for (name, value) in values.sorted(by: { $0.key < $1.key }) {
            if name == "lr" {
                rate = try LearningRateRule(value)
            } else if HeadValues.Name(rawValue: name) != nil {
                let order = try HeadOrder(name: name, value: value)
                head = head?.merging(order) ?? order
            } else {
                throw Invalid(
                    description: "\(name) cannot be set; \(Self.names.joined(separator: ", ")) can")
            }
        }
    }
}
