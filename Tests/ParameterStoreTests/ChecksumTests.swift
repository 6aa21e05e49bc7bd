import ParameterStore
import TestSupport
import Testing

@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct ChecksumTests {
    /// The check value of CRC-32C in the catalogue of parametrised CRC algorithms.
    @Test func theCheckValueIsRight() { #expect(Checksum.of(Array("123456789".utf8)) == 0xE306_9283) }

    @Test func piecesGiveTheSameAsAll() {
        let bytes = (0..<1000).map { UInt8(truncatingIfNeeded: $0 &* $0) }
        var sum = Checksum()
        for piece in [0..<1, 1..<8, 8..<8, 8..<999, 999..<1000] { bytes[piece].withUnsafeBytes { sum.update($0) } }
        #expect(sum.value == Checksum.of(bytes))
    }
}
