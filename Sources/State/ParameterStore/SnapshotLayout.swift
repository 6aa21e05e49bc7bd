internal import Cluster
internal import Foundation

/// The layout of a snapshot: a safetensors file with the tensors `rows` and `momentum` of class centers, each of the type
/// and extent of its `NumberFormat`, or `parameters` and `momentum` f32 [N] of the backbone, then `chunk_steps` i64 [n],
/// `chunk_crcs` i64 [n, 2] (CRC32C of the piece's rows and of its momentum) and `checks` i64 [2] (CRC32C of the header
/// with its length, and of both tables).
struct SnapshotLayout {
    static let version = "1"

    let header: [UInt8]
    let shape: SliceShape

    init(_ slice: SliceName, _ shape: SliceShape) {
        self.shape = shape
        func numbers(_ name: String, _ format: NumberFormat) -> SafeTensorsLayout.Entry {
            .init(name, format, rowCount: shape.rowCount, width: slice.isDense ? nil : shape.width)
        }
        let tensors: [SafeTensorsLayout.Entry] = [
            numbers(slice.isDense ? "parameters" : "rows", shape.format.rows),
            numbers("momentum", shape.format.momentum),
            .init(name: "chunk_steps", dtype: "I64", shape: [shape.chunkCount], byteCount: 8 * shape.chunkCount),
            .init(name: "chunk_crcs", dtype: "I64", shape: [shape.chunkCount, 2], byteCount: 16 * shape.chunkCount),
            .init(name: "checks", dtype: "I64", shape: [2], byteCount: 16),
        ]
        header = SafeTensorsLayout.header(
            tensors,
            metadata: [
                "format": "partialfc-snapshot", "version": Self.version, "slice": slice.description,
                "chunk_rows": String(shape.chunkRows),
            ])
    }

    var rowsOffset: Int { header.count }
    var momentumOffset: Int { rowsOffset + shape.byteCounts.rows }
    var tablesOffset: Int { momentumOffset + shape.byteCounts.momentum }
    var tablesByteCount: Int { 24 * shape.chunkCount }
    var checksOffset: Int { tablesOffset + tablesByteCount }
    var byteCount: Int { checksOffset + 16 }
}

/// What a piece of a snapshot is, once it is written.
struct SnapshotChunk: Sendable, Hashable {
    var step: Int
    var rowsChecksum: UInt32
    var momentumChecksum: UInt32
}

extension SnapshotLayout {
    /// The tables as they stand in the file: steps, then checksums.
    static func tables(_ chunks: [SnapshotChunk]) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(24 * chunks.count)
        func append(_ value: Int64) { withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) } }
        for chunk in chunks { append(Int64(chunk.step)) }
        for chunk in chunks {
            append(Int64(chunk.rowsChecksum))
            append(Int64(chunk.momentumChecksum))
        }
        return bytes
    }

    static func checks(header: [UInt8], tables: [UInt8]) -> [UInt8] {
        [Checksum.of(header), Checksum.of(tables)].flatMap { checksum in
            withUnsafeBytes(of: Int64(checksum).littleEndian) { Array($0) }
        }
    }

    static func chunks(_ tables: [UInt8], count: Int) -> [SnapshotChunk] {
        func value(_ index: Int) -> Int64 {
            tables.withUnsafeBytes { Int64(littleEndian: $0.loadUnaligned(fromByteOffset: 8 * index, as: Int64.self)) }
        }
        return (0..<count).map { index in
            SnapshotChunk(
                step: Int(value(index)), rowsChecksum: UInt32(truncatingIfNeeded: value(count + 2 * index)),
                momentumChecksum: UInt32(truncatingIfNeeded: value(count + 2 * index + 1)))
        }
    }
}
