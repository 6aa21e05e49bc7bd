internal import ProcessSupport

/// How a piece of a line looks, where colours are wanted.
public enum ConsoleStyle: Sendable, Hashable {
    case plain, bold, faint, good, warning, bad, accent, inverse

    /// The parameters of the ANSI sequence that turns it on.
    var code: String {
        switch self {
        case .plain: ""
        case .bold: "1"
        case .faint: "2"
        case .good: "32"
        case .warning: "33"
        case .bad: "1;31"
        case .accent: "36"
        case .inverse: "7"
        }
    }
}

/// One line of a screen: pieces of text, each with a style.
struct ConsoleLine {
    private(set) var pieces: [(text: String, style: ConsoleStyle)] = []

    init() {}

    init(_ text: String, _ style: ConsoleStyle = .plain) { add(text, style) }

    /// Columns that it takes.
    var columns: Int { pieces.reduce(0) { $0 + $1.text.columns } }

    mutating func add(_ text: String, _ style: ConsoleStyle = .plain) {
        if !text.isEmpty { pieces.append((text.printable, style)) }
    }

    mutating func add(_ other: ConsoleLine) { pieces += other.pieces }

    /// Blanks up to a column.
    mutating func pad(to column: Int) { add(String(repeating: " ", count: Swift.max(0, column - columns))) }

    /// The line in at most so many columns; what does not fit ends with `…`.
    func text(columns limit: Int, coloured: Bool) -> String {
        var text = ""
        var left = limit
        let isCut = columns > limit
        for piece in pieces where left > 0 {
            var shown = ""
            for character in piece.text {
                let width = character.columns
                if width > left - (isCut ? 1 : 0) {
                    if isCut && left > 0 { shown += "…" }
                    left = 0
                    break
                }
                shown.append(character)
                left -= width
            }
            text += coloured && piece.style != .plain ? "\u{1B}[\(piece.style.code)m\(shown)\u{1B}[0m" : shown
        }
        return text
    }
}
