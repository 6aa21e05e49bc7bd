import CRows
import Cluster
import Foundation
import ParameterStore
import Tensors

/// Rows [C, D] of all classes as safetensors files of bounded length with an index, in the manner of Hugging Face.
///
/// `centers.safetensors.index.json` maps tensor names to files. The tensors `centers.00000`, `centers.00001`, … one after the
/// other, in the order of their names, are the rows of the classes 0, 1, …:
///
/// ```python
/// index = json.load(open("centers.safetensors.index.json"))["weight_map"]
/// centers = torch.cat([safe_open(file, "pt").get_tensor(name) for name, file in sorted(index.items())])
/// ```
enum CenterFiles {
    /// Classes that follow each other and lie in one slice.
    struct Piece {
        var slice: Int
        var classes: Range<Int>
        /// The row of the first of them in its slice.
        var firstRow: Int
    }

    /// The JSON of an index.
    struct Index: Codable {
        var metadata: Metadata
        var weightMap: [String: String]

        struct Metadata: Codable {
            /// Bytes of all tensors.
            var totalSize: Int
            var classes: Int
            var embeddingSize: Int
            /// The committed step of the state, -1 for initial values.
            var step: Int
            /// Classes that are not sampled any more.
            var retired: [Int64]

            private enum CodingKeys: String, CodingKey {
                case totalSize = "total_size"
                case classes
                case embeddingSize = "embedding_size"
                case step
                case retired
            }
        }

        private enum CodingKeys: String, CodingKey {
            case metadata
            case weightMap = "weight_map"
        }
    }

    /// Length that a file may reach, unless a single piece is longer.
    static let fileByteLimit = 4 << 30
    private static let bufferByteCount = 8 << 20

    /// The pieces of all classes, in the order of the class ids.
    static func pieces(of layout: SliceLayout) -> [Piece] {
        var pieces: [Piece] = []
        for slice in 0..<layout.sliceCount {
            var row = 0
            for range in layout.classes(of: slice).ranges {
                pieces.append(Piece(slice: slice, classes: range, firstRow: row))
                row += range.count
            }
        }
        return pieces.sorted { $0.classes.lowerBound < $1.classes.lowerBound }
    }

    /// Writes the tensor `name` of every slice's file, renamed `stem`, to `directory`, as f32.
    ///
    /// - Parameters:
    ///   - format: how the slices' files keep it.
    ///   - slicePath: the safetensors file of a slice.
    /// - Throws: `SafeTensorsError` or `OfflineError` if a file cannot be read or written, or does not fit.
    static func export(
        _ name: String, as stem: String, format: NumberFormat, registry: ClassRegistry, embeddingSize: Int, step: Int,
        to directory: String, fileByteLimit: Int = fileByteLimit, slicePath: (Int) throws -> String
    ) throws {
        let pieces = pieces(of: registry.layout)
        let rowBytes = embeddingSize * MemoryLayout<Float>.size
        var files: [[Int]] = [[]]
        var length = 0
        for (index, piece) in pieces.enumerated() {
            let bytes = piece.classes.count * rowBytes
            if length + bytes > fileByteLimit && length > 0 {
                files.append([])
                length = 0
            }
            files[files.count - 1].append(index)
            length += bytes
        }
        let digits = max(5, "\(pieces.count)".count)
        var weightMap: [String: String] = [:]
        for (number, members) in files.enumerated() {
            let file = "\(stem)-\(padded(number + 1, 5))-of-\(padded(files.count, 5)).safetensors"
            let tensors = members.map { index in
                SafeTensorsWriter.Description(
                    "\(stem).\(padded(index, digits))", .f32, [pieces[index].classes.count, embeddingSize])
            }
            let writer = try SafeTensorsWriter(directory + "/" + file, tensors: tensors, metadata: ["format": "pt"])
            try forEachBlock(
                name, format: format, registry: registry, members.map { pieces[$0] }, width: embeddingSize, slicePath
            ) { try writer.append(UnsafeRawBufferPointer($1)) }
            for tensor in tensors { weightMap[tensor.name] = file }
            try writer.finish()
        }
        let index = Index(
            metadata: .init(
                totalSize: registry.classCount * rowBytes, classes: registry.classCount, embeddingSize: embeddingSize,
                step: step, retired: registry.retired.numbers.map(Int64.init)), weightMap: weightMap)
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
        try encoder.encode(index).write(
            to: URL(fileURLWithPath: directory + "/\(stem).safetensors.index.json"), options: .atomic)
    }

    /// Writes the tensor `name` of every slice's file as one file of int8 rows: `features` i8 [n, D], `scales` f32 [n], and the classes
    /// `labels` i64 [n], without those that are retired. x ≈ features · scale, scale = max|x| / 127.
    ///
    /// Rows are read and written some at a time; scales are in memory until the end.
    ///
    /// - Throws: as `export`, also if a number is not finite.
    static func exportBytes(
        _ name: String, format: NumberFormat, registry: ClassRegistry, embeddingSize: Int, step: Int,
        to path: String, slicePath: (Int) throws -> String
    ) throws {
        let retired = registry.retired
        let pieces = pieces(of: registry.layout)
        let count = registry.classCount - retired.count
        let writer = try SafeTensorsWriter(
            path,
            tensors: [
                .init(signedBytes: "features", [count, embeddingSize]), .init("scales", .f32, [count]),
                .init("labels", .i64, [count]),
            ], metadata: ["format": "pt", "step": "\(step)"])
        var scales: [Float] = []
        var labels: [Int64] = []
        scales.reserveCapacity(count)
        labels.reserveCapacity(count)
        try forEachBlock(name, format: format, registry: registry, pieces, width: embeddingSize, slicePath) {
            classes, values in
            var kept: [Float] = []
            kept.reserveCapacity(values.count)
            for (row, number) in classes.enumerated() where !retired.contains(number) {
                let row = values[row * embeddingSize..<(row + 1) * embeddingSize]
                guard row.allSatisfy(\.isFinite) else { throw OfflineError("the row of class \(number) is not finite") }
                kept.append(contentsOf: row)
                labels.append(Int64(number))
            }
            let rows = kept.count / embeddingSize
            var codes = [Int8](repeating: 0, count: kept.count)
            var blockScales = [Float](repeating: 0, count: rows)
            pfc_bytes_encode(kept, rows, embeddingSize, &codes, &blockScales)
            scales += blockScales
            try codes.withUnsafeBytes { try writer.append($0) }
        }
        try scales.withUnsafeBytes { try writer.append($0) }
        try labels.withUnsafeBytes { try writer.append($0) }
        try writer.finish()
    }

    /// Decodes the rows of pieces, some at a time: the classes, and their rows f32.
    private static func forEachBlock(
        _ name: String, format: NumberFormat, registry: ClassRegistry, _ pieces: some Sequence<Piece>, width: Int,
        _ slicePath: (Int) throws -> String, _ body: (Range<Int>, UnsafeBufferPointer<Float>) throws -> Void
    ) throws {
        let size = format.byteCount(width: width)
        let count = max(1, bufferByteCount / (4 * width))
        let kept = UnsafeMutableRawBufferPointer.allocate(byteCount: count * max(size, 1), alignment: 64)
        defer { kept.deallocate() }
        let values = UnsafeMutableBufferPointer<Float>.allocate(capacity: count * width)
        defer { values.deallocate() }
        guard let keptBase = kept.baseAddress, let valueBase = values.baseAddress else { return }
        var open: (slice: Int, file: SafeTensorsFile, entry: SafeTensorsFile.Entry)?
        for piece in pieces {
            if open?.slice != piece.slice {
                let file = try SafeTensorsFile(try slicePath(piece.slice))
                let entry = try file.entry(name, format.dtype)
                let expected = [registry.layout.classes(of: piece.slice).count, format.extent(width: width)]
                guard entry.shape == expected else {
                    throw OfflineError("\(file.path): \(name) is \(entry.shape), expected \(expected)")
                }
                open = (piece.slice, file, entry)
            }
            guard let source = open else { continue }
            for start in stride(from: 0, to: piece.classes.count, by: count) {
                let part = min(count, piece.classes.count - start)
                try source.file.read(
                    source.entry, from: (piece.firstRow + start) * size,
                    into: UnsafeMutableRawBufferPointer(rebasing: kept[..<(part * size)]))
                format.decode(keptBase, count: part, width: width, to: valueBase)
                let first = piece.classes.lowerBound + start
                try body(first..<first + part, UnsafeBufferPointer(start: valueBase, count: part * width))
            }
        }
    }

    private static func padded(_ number: Int, _ digits: Int) -> String {
        let text = "\(number)"
        return String(repeating: "0", count: max(0, digits - text.count)) + text
    }
}

/// Why a command that works on files alone cannot do it.
struct OfflineError: Error, CustomStringConvertible {
    var description: String
    init(_ description: String) { self.description = description }
}
