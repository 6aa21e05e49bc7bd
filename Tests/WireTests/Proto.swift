/// Writes protobuf by hand, so that tests do not depend on the library that they test.
struct Proto {
    var bytes: [UInt8] = []

    static func varint(_ value: UInt64) -> [UInt8] {
        var value = value
        var bytes: [UInt8] = []
        while value >= 0x80 {
            bytes.append(UInt8(value & 0x7f) | 0x80)
            value >>= 7
        }
        return bytes + [UInt8(value)]
    }

    /// Wire type 0.
    func number(_ field: UInt64, _ value: UInt64) -> Proto {
        Proto(bytes: bytes + Proto.varint(field << 3) + Proto.varint(value))
    }

    /// Wire type 0, zigzag: `sint64`.
    func signed(_ field: UInt64, _ value: Int64) -> Proto {
        number(field, UInt64(bitPattern: (value << 1) ^ (value >> 63)))
    }

    /// Wire type 2.
    func bytes(_ field: UInt64, _ value: [UInt8]) -> Proto {
        Proto(bytes: bytes + Proto.varint(field << 3 | 2) + Proto.varint(UInt64(value.count)) + value)
    }

    func text(_ field: UInt64, _ value: String) -> Proto { bytes(field, Array(value.utf8)) }

    func message(_ field: UInt64, _ value: Proto) -> Proto { bytes(field, value.bytes) }

    /// Wire type 1.
    func double(_ field: UInt64, _ value: Double) -> Proto {
        Proto(
            bytes: bytes + Proto.varint(field << 3 | 1) + withUnsafeBytes(of: value.bitPattern.littleEndian, Array.init)
        )
    }

    /// Wire type 5.
    func float(_ field: UInt64, _ value: Float) -> Proto {
        Proto(
            bytes: bytes + Proto.varint(field << 3 | 5) + withUnsafeBytes(of: value.bitPattern.littleEndian, Array.init)
        )
    }

    /// A description of a tensor, as an entry of a header.
    func tensor(_ dtype: UInt64, _ shape: [UInt64]) -> Proto {
        message(2, Proto().number(1, dtype).bytes(2, shape.flatMap(Proto.varint)))
    }
}
