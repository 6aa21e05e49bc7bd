import Foundation
import ParameterStore

/// A record of TensorBoard's event files: the messages `Event`, `Summary` and `SessionLog` of TensorFlow's protocol buffers
/// (event.proto, summary.proto) as far as numbers need them, framed as a TFRecord.
enum TensorBoardRecord {
    /// The first record of a file.
    static func version(time: Double) -> Data { framed(event(time) { $0.text(3, "brain.Event:2") }) }

    /// From here on the steps from `step` are new: what an earlier file says of them does not count.
    static func start(time: Double, step: Int) -> Data {
        framed(
            event(time, step) { event in
                var log = Message()
                log.number(1, 1)  // START
                event.message(7, log)
            })
    }

    /// Numbers of a step, by tag.
    static func scalars(time: Double, step: Int, _ values: [(tag: String, value: Double)]) -> Data {
        framed(
            event(time, step) { event in
                var summary = Message()
                for (tag, number) in values {
                    var value = Message()
                    value.text(1, tag)
                    value.float(2, Float(number))
                    summary.message(1, value)
                }
                event.message(5, summary)
            })
    }

    private static func event(_ time: Double, _ step: Int = 0, _ fill: (inout Message) -> Void) -> Data {
        var event = Message()
        event.double(1, time)
        if step != 0 { event.number(2, UInt64(bitPattern: Int64(step))) }
        fill(&event)
        return event.bytes
    }

    /// Length, its checksum, the data, their checksum.
    private static func framed(_ data: Data) -> Data {
        let length = littleEndian(UInt64(data.count))
        return length + littleEndian(masked(length)) + data + littleEndian(masked(data))
    }

    private static func masked(_ data: Data) -> UInt32 {
        let sum = data.withUnsafeBytes { Checksum.of($0) }
        return (sum >> 15 | sum << 17) &+ 0xA282_EAD8
    }

    private static func littleEndian(_ value: some FixedWidthInteger) -> Data {
        withUnsafeBytes(of: value.littleEndian) { Data($0) }
    }

    /// The wire format of protocol buffers.
    private struct Message {
        var bytes = Data()

        mutating func number(_ field: UInt64, _ value: UInt64) {
            varint(field << 3)
            varint(value)
        }

        mutating func double(_ field: UInt64, _ value: Double) {
            varint(field << 3 | 1)
            bytes += TensorBoardRecord.littleEndian(value.bitPattern)
        }

        mutating func float(_ field: UInt64, _ value: Float) {
            varint(field << 3 | 5)
            bytes += TensorBoardRecord.littleEndian(value.bitPattern)
        }

        mutating func text(_ field: UInt64, _ value: String) { data(field, Data(value.utf8)) }
        mutating func message(_ field: UInt64, _ value: Message) { data(field, value.bytes) }

        private mutating func data(_ field: UInt64, _ value: Data) {
            varint(field << 3 | 2)
            varint(UInt64(value.count))
            bytes += value
        }

        private mutating func varint(_ value: UInt64) {
            var rest = value
            while rest >= 0x80 {
                bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
                rest >>= 7
            }
            bytes.append(UInt8(rest))
        }
    }
}
