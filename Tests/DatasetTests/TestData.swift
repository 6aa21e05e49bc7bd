import Dataset
import Foundation
import TestSupport

/// A gray PGM image.
func pgm(_ pixels: [UInt8], width: Int, height: Int) -> [UInt8] { Array("P5 \(width) \(height) 255\n".utf8) + pixels }

/// Writes recordio files as MXNet does.
struct RecordWriter {
    private(set) var file: [UInt8] = []
    private(set) var index = ""

    mutating func add(key: Int, flag: UInt32 = 0, label: Float = 0, labels: [Float] = [], image: [UInt8]) {
        var contents = little(flag) + little(label.bitPattern) + little(UInt64(key)) + little(UInt64(0))
        for value in labels { contents += little(value.bitPattern) }
        addRaw(key: key, contents: contents + image)
    }

    /// Splits where the magic number stands at a multiple of 4, as the format demands.
    mutating func addRaw(key: Int, contents: [UInt8]) {
        index += "\(key)\t\(file.count)\n"
        let magic = little(UInt32(0xCED7_230A))
        var parts: [[UInt8]] = [[]]
        var position = 0
        while position < contents.count {
            let word = Array(contents[position..<min(position + 4, contents.count)])
            if word == magic { parts.append([]) } else { parts[parts.count - 1] += word }
            position += 4
        }
        for (number, part) in parts.enumerated() {
            let flag: UInt32 = parts.count == 1 ? 0 : number == 0 ? 1 : number == parts.count - 1 ? 3 : 2
            file += magic + little(flag << 29 | UInt32(part.count)) + part
            file += [UInt8](repeating: 0, count: (4 - part.count % 4) % 4)
        }
    }

    func write(to folder: TemporaryFolder, property: String? = nil, withIndex: Bool = true) throws -> String {
        let path = try folder.write(file, to: "train.rec")
        if withIndex { _ = try folder.write(Array(index.utf8), to: "train.idx") }
        if let property { _ = try folder.write(Array(property.utf8), to: "property") }
        return path
    }
}

func little<Value: FixedWidthInteger>(_ value: Value) -> [UInt8] {
    withUnsafeBytes(of: value.littleEndian) { Array($0) }
}

extension ImageSource {
    func pixels(of index: Int) throws -> [UInt8] {
        let buffer = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: imageShape.count)
        defer { buffer.deallocate() }
        try image(at: index, into: buffer)
        return Array(buffer)
    }
}
