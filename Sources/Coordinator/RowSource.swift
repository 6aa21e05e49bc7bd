import Foundation
import ParameterStore
import Tensors

/// Rows [C, D] in one safetensors file or in several with an index: what `export` writes, or a head of other origin.
struct RowSource {
    private struct Part {
        var file: SafeTensorsFile
        var entry: SafeTensorsFile.RealEntry
        /// The rows of it among all.
        var rows: Range<Int>
    }

    /// What is read of an index, whoever wrote it.
    private struct Index: Decodable {
        var weightMap: [String: String]

        private enum CodingKeys: String, CodingKey { case weightMap = "weight_map" }
    }

    private var parts: [Part] = []
    let path: String
    /// C and D.
    private(set) var rowCount = 0
    private(set) var width = 0

    /// - Parameters:
    ///   - path: a safetensors file, an index file (`….index.json`), or a directory with `STEM.safetensors.index.json`.
    ///   - stem: `centers`, or what the optimiser keeps. In a single file the tensor may also be called `weight`, or be the only matrix.
    /// - Throws: `SafeTensorsError` or `OfflineError` if a file is missing, damaged, or its tensors do not fit together.
    init(_ path: String, stem: String) throws {
        self.path = path
        var isDirectory: ObjCBool = false
        guard FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory) else {
            throw OfflineError("\(path) does not exist")
        }
        let index = isDirectory.boolValue ? path + "/\(stem).safetensors.index.json" : path
        if index.hasSuffix(".json") {
            try add(index: index)
        } else {
            let file = try SafeTensorsFile(path)
            try add(file, Self.matrix(of: file, stem))
        }
    }

    /// Whether `directory` has rows of this name.
    static func exists(in directory: String, stem: String) -> Bool {
        FileManager.default.fileExists(atPath: directory + "/\(stem).safetensors.index.json")
    }

    private mutating func add(index path: String) throws {
        let index: Index
        do {
            let data = try Data(contentsOf: URL(fileURLWithPath: path))
            index = try JSONDecoder().decode(Index.self, from: data)
        } catch { throw OfflineError("\(path) cannot be read: \(error)") }
        let directory = URL(fileURLWithPath: path).deletingLastPathComponent()
        var files: [String: SafeTensorsFile] = [:]
        for (name, fileName) in index.weightMap.sorted(by: { $0.key < $1.key }) {
            let file: SafeTensorsFile
            if let known = files[fileName] {
                file = known
            } else {
                file = try SafeTensorsFile(directory.appending(path: fileName).path)
                files[fileName] = file
            }
            try add(file, name)
        }
    }

    private static func matrix(of file: SafeTensorsFile, _ stem: String) throws -> String {
        if let name = [stem, "weight"].first(where: { file.shape($0) != nil }) { return name }
        let matrices = file.names.filter { (try? file.reals($0))?.shape.count == 2 }.sorted()
        guard matrices.count == 1 else {
            throw OfflineError(
                "\(file.path) has no tensor \(stem) or weight, and \(matrices.count) others that could be it")
        }
        return matrices[0]
    }

    private mutating func add(_ file: SafeTensorsFile, _ name: String) throws {
        let entry = try file.reals(name)
        guard entry.shape.count == 2, parts.isEmpty || entry.shape[1] == width else {
            throw OfflineError("\(file.path): \(name) has shape \(entry.shape), which does not fit the others")
        }
        width = entry.shape[1]
        parts.append(Part(file: file, entry: entry, rows: rowCount..<rowCount + entry.shape[0]))
        rowCount += entry.shape[0]
    }

    /// Reads rows into `target`, which keeps rows in `format`, from its row `first` on.
    ///
    /// - Throws: `SafeTensorsError` if they cannot be read, `OfflineError` if a number is not finite in this format. Traps if
    ///   there are no such rows.
    func read(
        _ rows: Range<Int>, as format: NumberFormat, into target: UnsafeMutableRawBufferPointer, row first: Int
    ) throws {
        let size = format.byteCount(width: width)
        let count = max(1, min(rows.count, (8 << 20) / (4 * width)))
        let values = UnsafeMutableBufferPointer<Float>.allocate(capacity: count * width)
        defer { values.deallocate() }
        guard let base = values.baseAddress, let targetBase = target.baseAddress else { return }
        precondition(target.count >= (first + rows.count) * size, "rows of another shape")
        for start in stride(from: rows.lowerBound, to: rows.upperBound, by: count) {
            let part = start..<min(start + count, rows.upperBound)
            try read(part, into: UnsafeMutableBufferPointer(start: base, count: part.count * width))
            if let bad = format.firstNonFinite(base, count: part.count * width) {
                let place = parts.first { $0.rows.contains(start + bad / width) }
                throw OfflineError(
                    "\(place?.file.path ?? ""): the row of class \(start + bad / width) is not finite as \(format)")
            }
            format.encode(
                base, count: part.count, width: width, to: targetBase + (first + start - rows.lowerBound) * size)
        }
    }

    /// Reads rows into memory of as many rows.
    ///
    /// - Throws: `SafeTensorsError` if they cannot be read. Traps if there are no such rows.
    private func read(_ rows: Range<Int>, into target: UnsafeMutableBufferPointer<Float>) throws {
        precondition(rows.upperBound <= rowCount && target.count == rows.count * width, "rows of another shape")
        for part in parts {
            let wanted = part.rows.clamped(to: rows)
            if wanted.isEmpty { continue }
            let start = (wanted.lowerBound - rows.lowerBound) * width
            try part.file.read(
                part.entry, from: (wanted.lowerBound - part.rows.lowerBound) * width,
                into: UnsafeMutableBufferPointer(rebasing: target[start..<start + wanted.count * width]))
        }
    }
}
