import Foundation
import ProcessSupport

/// JSON as the coordinator writes it and operator commands read it.
///
/// Members report figures as they are, and those of a run that diverges are infinite or no number, which JSON does not
/// have: they become the texts `inf`, `-inf` and `nan`.
enum StatusJSON {
    /// - Throws: `EncodingError` if `value` cannot be encoded.
    static func encode(_ value: some Encodable, pretty: Bool = false) throws -> Data {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        if pretty { encoder.outputFormatting.insert(.prettyPrinted) }
        encoder.nonConformingFloatEncodingStrategy = .convertToString(
            positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
        return escaped(try encoder.encode(value))
    }

    /// Prints the answer of a command.
    ///
    /// - Throws: `EncodingError` if `value` cannot be encoded.
    static func print(_ value: some Encodable) throws {
        Swift.print(String(decoding: try encode(value, pretty: true), as: UTF8.self))
    }

    /// JSON is printed on terminals too: what these would obey is written as \uXXXX, which is the same to whoever reads JSON. Foundation
    /// does that for the first 32 characters alone.
    private static func escaped(_ json: Data) -> Data {
        let text = String(decoding: json, as: UTF8.self)
        func isHidden(_ scalar: Unicode.Scalar) -> Bool { scalar != "\n" && String(scalar).printable.hasPrefix("\\u{") }
        guard text.unicodeScalars.contains(where: { $0.value >= 0x7F && isHidden($0) }) else { return json }
        var escaped = ""
        for scalar in text.unicodeScalars {
            guard isHidden(scalar) else {
                escaped.unicodeScalars.append(scalar)
                continue
            }
            for unit in String(scalar).utf16 {
                let digits = String(unit, radix: 16)
                escaped += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            }
        }
        return Data(escaped.utf8)
    }

    /// - Throws: `DecodingError` if `text` is not a `Value`.
    static func decode<Value: Decodable>(_ type: Value.Type, from text: String) throws -> Value {
        let decoder = JSONDecoder()
        decoder.nonConformingFloatDecodingStrategy = .convertFromString(
            positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
        return try decoder.decode(type, from: Data(text.utf8))
    }
}
