/// The names that somebody may have meant who has written another one.
enum NearNames {
    /// Those that begin and end most like `name`, the nearest first.
    static func of(_ name: String, among names: [String], count: Int) -> [String] {
        func common(_ one: some Sequence<Character>, _ other: some Sequence<Character>) -> Int {
            zip(one, other).prefix { $0 == $1 }.count
        }
        func likeness(_ other: String) -> Int {
            // What both are made of must not count twice.
            min(common(name, other) + common(name.reversed(), other.reversed()), min(name.count, other.count))
        }
        let ranked = names.map { (name: $0, likeness: likeness($0), excess: abs($0.count - name.count)) }
        return ranked.sorted { ($1.likeness, $0.excess, $0.name) < ($0.likeness, $1.excess, $1.name) }.prefix(count)
            .map(\.name)
    }
}
