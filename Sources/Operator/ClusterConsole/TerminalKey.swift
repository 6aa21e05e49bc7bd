/// A key that was pressed.
public enum TerminalKey: Sendable, Hashable {
    case character(Character)
    case up, down, pageUp, pageDown, home, end, escape

    /// The keys in what a terminal has sent. What is not known is left out.
    public static func keys(in bytes: some Sequence<UInt8>) -> [TerminalKey] {
        var keys: [TerminalKey] = []
        var rest = Array(bytes)[...]
        while let first = rest.first {
            guard first == 0x1B else {
                rest.removeFirst()
                if first < 0x80 { keys.append(.character(Character(Unicode.Scalar(first)))) }
                continue
            }
            guard rest.count > 1, rest[rest.startIndex + 1] == 0x5B || rest[rest.startIndex + 1] == 0x4F else {
                rest.removeFirst()
                keys.append(.escape)
                continue
            }
            // CSI: parameters, then a final byte from @ on.
            let body = rest.dropFirst(2)
            guard let end = body.firstIndex(where: { $0 >= 0x40 }) else { break }
            let text = String(decoding: body[body.startIndex...end], as: UTF8.self)
            if let key = sequences[text] { keys.append(key) }
            rest = rest[(end + 1)...]
        }
        return keys
    }

    private static let sequences: [String: TerminalKey] = [
        "A": .up, "B": .down, "5~": .pageUp, "6~": .pageDown, "H": .home, "F": .end, "1~": .home, "4~": .end,
    ]
}
