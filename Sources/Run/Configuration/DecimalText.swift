/// A number as somebody wrote it, read without rounding.
struct DecimalText {
    /// Why a text is no number.
    struct Problem: Error {
        /// What would be written instead, or what is wrong; empty if there is nothing more to say than what is wanted.
        var hint = ""
    }

    private var isNegative = false
    /// Significant digits, the first of which is not 0; empty for 0.
    private var digits: [UInt8] = []
    /// Power of ten of the last digit.
    private var exponent = 0
    /// The text without underscores.
    private let plain: String

    /// Reads `12`, `-0.5`, `.5`, `1e5`, `1_000_000`.
    ///
    /// Not hexadecimal and octal numbers, nor a number that begins with a superfluous 0, which is octal to some readers of YAML
    /// and decimal to others.
    init(_ text: String) throws(Problem) {
        if let problem = Self.special(text) { throw problem }
        var rest = Substring(text)
        if let sign = rest.first, sign == "-" || sign == "+" {
            isNegative = sign == "-"
            rest.removeFirst()
        }
        let whole = try Self.digits(&rest, separators: true)
        var fraction: [UInt8] = []
        if rest.first == "." {
            rest.removeFirst()
            fraction = try Self.digits(&rest, separators: false)
        }
        guard !(whole.isEmpty && fraction.isEmpty) else { throw Problem() }
        if whole.count > 1, whole[0] == 0 {
            let meant = text.filter { $0 != "_" && $0 != "+" }.drop { $0 == "0" || $0 == "-" }
            throw Problem(
                hint:
                    "it begins with 0, which some readers take for octal; write \(isNegative ? "-" : "")\(meant.isEmpty || meant.first == "." ? "0" : "")\(meant)"
            )
        }
        if let letter = rest.first, letter == "e" || letter == "E" {
            rest.removeFirst()
            var sign = 1
            if let mark = rest.first, mark == "-" || mark == "+" {
                sign = mark == "-" ? -1 : 1
                rest.removeFirst()
            }
            let power = try Self.digits(&rest, separators: false)
            guard !power.isEmpty, power.count <= 6 else { throw Problem(hint: "its exponent is none that can be used") }
            exponent = sign * power.reduce(0) { $0 * 10 + Int($1) }
        }
        guard rest.isEmpty else { throw Problem(hint: Self.unit(rest)) }
        digits = Array((whole + fraction).drop { $0 == 0 })
        exponent -= fraction.count
        while digits.last == 0 {
            digits.removeLast()
            exponent += 1
        }
        if digits.isEmpty { exponent = 0 }
        plain = text.filter { $0 != "_" }
    }

    /// The number if it is whole and fits 64 bits.
    var integer: Int {
        get throws(Problem) {
            guard exponent >= 0 else { throw Problem(hint: "it is not whole") }
            let limit = Problem(hint: "it is beyond \(isNegative ? Int.min : Int.max)")
            guard digits.count + exponent <= 19 else { throw limit }
            var magnitude: UInt64 = 0
            for digit in digits { magnitude = magnitude * 10 + UInt64(digit) }
            for _ in 0..<exponent { magnitude *= 10 }
            if isNegative {
                guard magnitude <= UInt64(Int.max) else { throw limit }
                return -Int(magnitude)
            }
            guard let value = Int(exactly: magnitude) else { throw limit }
            return value
        }
    }

    /// The nearest double-precision number; that it is near in single precision too if that is asked for.
    func double(isSingle: Bool) throws(Problem) -> Double {
        guard let value = Double(plain), value.isFinite, !isSingle || Float(value).isFinite else {
            throw Problem(hint: "it is too large")
        }
        guard digits.isEmpty || (isSingle ? Float(value) != 0 : value != 0) else {
            throw Problem(hint: "it is so small that it would be 0; write 0 if that is meant")
        }
        return value
    }

    /// Digits with single underscores between them, taken off the beginning of `text`.
    private static func digits(_ text: inout Substring, separators: Bool) throws(Problem) -> [UInt8] {
        var digits: [UInt8] = []
        while let character = text.first {
            if let value = character.asciiValue, (0x30...0x39).contains(value) {
                digits.append(value - 0x30)
            } else if separators, character == "_", !digits.isEmpty, text.dropFirst().first?.isASCIIDigit == true {
                // Skipped.
            } else {
                break
            }
            text.removeFirst()
        }
        return digits
    }

    /// What is no number here, though other readers take it for one.
    private static func special(_ text: String) -> Problem? {
        let lower = text.lowercased().drop { $0 == "-" || $0 == "+" }
        if [".inf", "inf", "infinity", ".nan", "nan"].contains(lower) { return Problem(hint: "it is not finite") }
        for (prefix, radix, name) in [("0x", 16, "hexadecimal"), ("0o", 8, "octal"), ("0b", 2, "binary")]
        where lower.hasPrefix(prefix) {
            let value = Int(lower.dropFirst(2).filter { $0 != "_" }, radix: radix)
            return Problem(
                hint: "\(name) numbers are not read"
                    + (value.map { "; write \(text.hasPrefix("-") ? "-" : "")\($0)" } ?? ""))
        }
        return nil
    }

    /// What may be said of what follows a number.
    private static func unit(_ rest: Substring) -> String {
        switch rest.first {
        case "%": "write a fraction: 0.5 for 50%"
        case ",": "digits are not parted by commas, and the decimal point is a point"
        case ":": "numbers of base 60 are not read"
        default: ""
        }
    }
}

extension Character {
    fileprivate var isASCIIDigit: Bool { asciiValue.map { (0x30...0x39).contains($0) } ?? false }
}
