internal import Dataset
internal import Foundation

/// The header of a `.npy` file with float32 [rows, columns], in C order and little endian.
struct NumPyHeader {
    let rows: Int
    let columns: Int
    /// Where the values begin.
    let byteCount: Int

    /// Reads it, and checks that the file is as long as it says.
    init(path: String) throws(DatasetError) {
        func fail(_ problem: String) -> DatasetError { DatasetError(.malformedFile, path: path, problem) }
        guard let length = fileByteCount(path), let file = FileHandle(forReadingAtPath: path) else {
            throw DatasetError(.missingFile, path: path, "cannot be read")
        }
        let head: [UInt8]
        do { head = [UInt8](try file.read(upToCount: 1 << 16) ?? Data()) } catch {
            throw fail("cannot be read: \(error)")
        }
        guard head.count >= 12, head.starts(with: [0x93, 0x4E, 0x55, 0x4D, 0x50, 0x59]), (1...3).contains(head[6])
        else {
            throw fail("is no NumPy array")
        }
        let start = head[6] == 1 ? 10 : 12
        let size = head[8..<start].reversed().reduce(0) { $0 << 8 | Int($1) }
        guard size <= head.count - start else { throw fail("has a header that is cut off, or of more than 64 KiB") }
        let text = String(decoding: head[start..<start + size], as: UTF8.self)
        guard text.contains("'descr': '<f4'"), text.contains("'fortran_order': False") else {
            throw fail("is not float32 in C order: \(text.trimmingCharacters(in: .whitespacesAndNewlines).prefix(100))")
        }
        let shape = text.range(of: "'shape': (").flatMap { begin in
            text[begin.upperBound...].firstIndex(of: ")").map { text[begin.upperBound..<$0] }
        }
        let extents = (shape ?? "").split(separator: ",").map { Int($0.trimmingCharacters(in: .whitespaces)) }
        guard extents.count == 2, let rows = extents[0], let columns = extents[1], rows >= 0,
            (1...1 << 20).contains(columns)
        else { throw fail("has the shape (\(shape ?? "?")); rows and columns are needed") }
        let (values, overflows) = rows.multipliedReportingOverflow(by: columns * 4)
        guard !overflows, values == length - start - size else {
            throw fail("is \(length) bytes long, which does not fit its shape (\(rows), \(columns))")
        }
        (self.rows, self.columns, byteCount) = (rows, columns, start + size)
    }

    /// The bytes before the values.
    static func bytes(rows: Int, columns: Int) -> [UInt8] {
        var text = "{'descr': '<f4', 'fortran_order': False, 'shape': (\(rows), \(columns)), }"
        while (10 + text.utf8.count + 1) % 64 != 0 { text += " " }
        text += "\n"
        return [0x93, 0x4E, 0x55, 0x4D, 0x50, 0x59, 1, 0, UInt8(text.utf8.count & 255), UInt8(text.utf8.count >> 8)]
            + text.utf8
    }
}
