internal import Foundation

/// A JSON file that carries the CRC32C of its contents: `{"crc32c":"0123abcd","body":{…}}`.
///
/// The checksum is over the bytes of the body as they stand in the file.
package enum ChecksummedJSON {
    private static func prefix(_ checksum: UInt32) -> [UInt8] {
        let digits = String(checksum, radix: 16)
        return Array(
            ("{\"crc32c\":\"" + String(repeating: "0", count: 8 - digits.count) + digits + "\",\"body\":").utf8)
    }
    private static let suffix = Array("}\n".utf8)

    package static func write(_ value: some Encodable, to path: String) throws(CenterStoreError) {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
        let body: [UInt8]
        do { body = try [UInt8](encoder.encode(value)) } catch {
            throw CenterStoreError(.io, "\(path) cannot be written: \(error)")
        }
        try FileIO.replace(path, with: prefix(Checksum.of(body)) + body + suffix)
    }

    /// The value, nil if there is no such file.
    ///
    /// - Throws: `CenterStoreError`, `.damaged` if the checksum is not that of the contents.
    package static func read<Value: Decodable>(_ type: Value.Type, from path: String) throws(CenterStoreError) -> Value?
    {
        guard let bytes = try FileIO.contents(of: path) else { return nil }
        let length = prefix(0).count
        guard bytes.count >= length + suffix.count else {
            throw CenterStoreError(
                .damaged, "\(path) is \(bytes.count) bytes long, too short: restore it from a backup")
        }
        let body = Array(bytes[length..<bytes.count - suffix.count])
        guard bytes == prefix(Checksum.of(body)) + body + suffix else {
            throw CenterStoreError(
                .damaged, "\(path) has another checksum than was written: it is damaged; restore it from a backup")
        }
        do { return try JSONDecoder().decode(type, from: Data(body)) } catch {
            throw CenterStoreError(
                .damaged, "\(path) has a form that this version does not know: use the version that wrote it (\(error))"
            )
        }
    }
}
