internal import Dataset

/// The values that protocol 0 writes as lines of text.
extension PickleReader {
    /// The value of opcode I, L, F, S or V.
    mutating func takeTextValue(_ opcode: UInt8) throws(DatasetError) -> PickleValue {
        switch opcode {
        case UInt8(ascii: "I"):
            let text = try takeLine()
            if text == "01" { return .bool(true) }
            if text == "00" { return .bool(false) }
            guard let value = Int(text) else { throw fail("\(text.debugDescription) is not an integer") }
            return .integer(value)
        case UInt8(ascii: "L"):
            let text = try takeLine()
            guard let value = Int(text.hasSuffix("L") ? String(text.dropLast()) : text) else {
                throw fail("\(text.debugDescription) is not an integer of at most 8 bytes")
            }
            return .integer(value)
        case UInt8(ascii: "F"):
            let text = try takeLine()
            guard let value = Double(text) else { throw fail("\(text.debugDescription) is not a number") }
            return .float(value)
        case UInt8(ascii: "S"): return .decodedBytes(try quoted(try takeWholeLine()))
        default: return .latinText(try escaped(try takeWholeLine()))
        }
    }

    mutating func takeMemoKey() throws(DatasetError) -> Int {
        let text = try takeLine()
        guard let key = Int(text), key >= 0 else { throw fail("\(text.debugDescription) is not the number of a memo") }
        return key
    }

    /// The bytes of a Python string literal.
    private func quoted(_ line: Range<Int>) throws(DatasetError) -> [UInt8] {
        let line = bytes[line].last == 0x0D ? line.dropLast() : line
        guard line.count >= 2, let quote = bytes[line].first, quote == bytes[line].last, [0x27, 0x22].contains(quote)
        else { throw fail("a string without quotes") }
        var result: [UInt8] = []
        result.reserveCapacity(line.count)
        var position = line.lowerBound + 1
        let end = line.upperBound - 1
        while position < end {
            let byte = bytes[position]
            position += 1
            guard byte == 0x5C else {
                result.append(byte)
                continue
            }
            guard position < end else { throw fail("a string that ends in a backslash") }
            let escape = bytes[position]
            position += 1
            switch escape {
            case UInt8(ascii: "n"): result.append(0x0A)
            case UInt8(ascii: "r"): result.append(0x0D)
            case UInt8(ascii: "t"): result.append(0x09)
            case UInt8(ascii: "\\"), UInt8(ascii: "'"), UInt8(ascii: "\""): result.append(escape)
            case UInt8(ascii: "x"):
                guard position + 2 <= end, let value = hexadecimal(position..<position + 2) else {
                    throw fail("\\x without two digits")
                }
                result.append(UInt8(value))
                position += 2
            default: throw fail("the escape \\\(Character(Unicode.Scalar(escape))) in a string")
            }
        }
        return result
    }

    /// The characters of a text in Python's raw-unicode-escape.
    private func escaped(_ line: Range<Int>) throws(DatasetError) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(line.count)
        var position = line.lowerBound
        while position < line.upperBound {
            let byte = bytes[position]
            position += 1
            guard byte == 0x5C, position < line.upperBound, bytes[position] == UInt8(ascii: "u") else {
                result.append(byte)
                continue
            }
            guard position + 5 <= line.upperBound, let value = hexadecimal(position + 1..<position + 5) else {
                throw fail("\\u without four digits")
            }
            guard value < 256 else { throw fail("a character beyond latin1") }
            result.append(UInt8(value))
            position += 5
        }
        return result
    }

    private func hexadecimal(_ range: Range<Int>) -> Int? {
        var value = 0
        for byte in bytes[range] {
            guard let digit = Character(Unicode.Scalar(byte)).hexDigitValue else { return nil }
            value = value * 16 + digit
        }
        return value
    }
}
