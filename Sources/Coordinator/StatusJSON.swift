import Foundation

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
        return try encoder.encode(value)
    }

    /// - Throws: `DecodingError` if `text` is not a `Value`.
    static func decode<Value: Decodable>(_ type: Value.Type, from text: String) throws -> Value {
        let decoder = JSONDecoder()
        decoder.nonConformingFloatDecodingStrategy = .convertFromString(
            positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
        return try decoder.decode(type, from: Data(text.utf8))
    }
}
