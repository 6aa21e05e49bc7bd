/// Binary PGM (P5) and PPM (P6) with at most 8 bits per value.
enum PortableMapDecoder {
    static func decode(_ bytes: UnsafeRawBufferPointer) throws(DatasetError) -> DecodedImage {
        let channels = bytes[1] == 0x35 ? 1 : 3
        let format = channels == 1 ? "PGM" : "PPM"
        var position = 2
        var fields: [Int] = []
        while fields.count < 3 {
            guard position < bytes.count else { throw DatasetError(.corruptImage, "\(format) ends inside its header") }
            let byte = bytes[position]
            if byte == 0x23 {  // a comment runs to the end of the line
                while position < bytes.count && bytes[position] != 0x0A { position += 1 }
            } else if isSpace(byte) {
                position += 1
            } else {
                var value = 0
                let start = position
                while position < bytes.count, (0x30...0x39).contains(bytes[position]), position - start < 9 {
                    value = value * 10 + Int(bytes[position] - 0x30)
                    position += 1
                }
                guard position > start else {
                    throw DatasetError(.corruptImage, "\(format) header has byte \(byte), not a number")
                }
                fields.append(value)
            }
        }
        let shape = try ImageDecoder.checkedShape(
            channels: channels, height: fields[1], width: fields[0], format: format)
        guard (1...255).contains(fields[2]) else {
            throw DatasetError(.corruptImage, "\(format) has maximum value \(fields[2]); 1...255 is read")
        }
        guard position < bytes.count, isSpace(bytes[position]), bytes.count - position - 1 >= shape.count else {
            throw DatasetError(.corruptImage, "\(format) of \(shape) is truncated: \(bytes.count) bytes")
        }
        let maximum = fields[2]
        let stored = bytes[(position + 1)..<(position + 1 + shape.count)]
        let pixels =
            maximum == 255 ? Array(stored) : stored.map { UInt8(min(255, (Int($0) * 255 + maximum / 2) / maximum)) }
        return DecodedImage(shape: shape, pixels: pixels)
    }

    private static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0D).contains(byte) }
}
