import Cluster
import Determinism
import Foundation
import ParameterStore
import Tensors
import TestSupport

/// Records, slices and directories for the tests of the store.
enum StoreFixture {
    static let identity = ShardStore.Identity(clusterID: "cluster", member: 3, configurationHash: "abc")

    static func store(
        _ directory: String, sync: ShardStore.SyncMode = .never, segmentByteLimit: Int = 64 << 20
    ) throws -> ShardStore {
        let store = try ShardStore(
            directory: directory, sync: sync, syncInterval: .seconds(3600), segmentByteLimit: segmentByteLimit)
        try store.adopt(identity)
        return store
    }

    /// Makes a directory one in which it is not known what was synced.
    static func forgetMark(_ directory: String) throws { try FileIO.remove(directory + "/synced") }

    /// A small `features` record whose numbers are a function of step and attempt.
    static func record(_ step: Int, attempt: Int = 0, size: Int = 3) -> LogRecord {
        let value = Float(step * 100 + attempt)
        return LogRecord(
            header: .init(
                term: 1, step: step, attempt: attempt, kind: .features, learningRate: 0.1, squaredNorm: 2.5,
                slices: [0, 1, 5], denseSlices: [2]),
            tensors: [
                Tensor([Int64(step), -1, 7]), Tensor((0..<size).map { value + Float($0) / 8 }, shape: [1, size]),
                Tensor([Double(value)]), Tensor([Float]()),
            ])
    }

    static func classes(_ step: Int, version: Int) -> LogRecord {
        LogRecord(
            header: .init(
                term: 1, step: step, attempt: 0, kind: .classes, operation: "{\"retire\":[\(version)]}",
                classVersion: version))
    }

    /// Everything that a record says, to compare: header, shapes and bits.
    static func text(_ record: LogRecord) -> String {
        let tensors = record.tensors.map { tensor in
            let bytes = withExtendedLifetime(tensor.storage) {
                [UInt8](UnsafeRawBufferPointer(start: tensor.rawPointer, count: tensor.byteCount))
            }
            return "\(tensor.dtype) \(tensor.shape) \(bytes)"
        }
        return "\(record.header) \(tensors)"
    }

    static func texts(_ cursor: LogCursor) throws -> [String] {
        var cursor = cursor
        var texts: [String] = []
        while let record = try cursor.next() { texts.append(text(record)) }
        return texts
    }

    /// `step`, and `+version` for a class operation, of every record that counts.
    static func names(_ store: ShardStore) throws -> [String] {
        var cursor = store.records(after: -2)
        var names: [String] = []
        while let record = try cursor.next() {
            let header = record.header
            names.append(
                header.kind == .classes ? "\(header.step)+\(header.classVersion)" : "\(header.step).\(header.attempt)")
        }
        return names
    }

    /// Every way in which a table may be kept.
    static let formats: [TableFormat] = [NumberFormat.f32, .bf16].flatMap { rows in
        NumberFormat.allCases.map { TableFormat(rows: rows, momentum: $0) }
    }

    /// Some bytes for rows or momentum: a function of the seed.
    static func values(_ count: Int, seed: UInt64) -> [UInt8] {
        var random = KeyedRandom(seed: seed, purpose: .centerInitialization, 1)
        return (0..<count).map { _ in UInt8(truncatingIfNeeded: random.next() >> 11) }
    }

    /// Writes a snapshot whose pieces are of the steps `steps`, from the last piece to the first.
    static func snapshot(
        _ store: ShardStore, _ slice: SliceName, _ shape: SliceShape, steps: [Int], seed: UInt64
    ) throws -> SnapshotReference {
        let writer = try store.beginSnapshot(slice, shape: shape)
        try write(shape, steps, seed) { try writer.write(chunk: $0, step: $1, planes: [$2, $3]) }
        return try writer.finish()
    }

    static func write(
        _ shape: SliceShape, _ steps: [Int], _ seed: UInt64,
        _ body: (Int, Int, UnsafeRawBufferPointer, UnsafeRawBufferPointer) throws -> Void
    ) throws {
        let (rows, momentum) = (
            values(shape.byteCounts.rows, seed: seed), values(shape.byteCounts.momentum, seed: seed + 1)
        )
        for chunk in (0..<shape.chunkCount).reversed() {
            let bytes = shape.bytes(ofChunk: chunk)
            try rows[bytes.rows].withUnsafeBytes { rows in
                try momentum[bytes.momentum].withUnsafeBytes { momentum in
                    try body(chunk, steps[chunk], rows, momentum)
                }
            }
        }
    }

    /// All rows and momentum of a snapshot, piece by piece.
    static func contents(_ reader: SnapshotReader) throws -> (rows: [UInt8], momentum: [UInt8]) {
        var rows = [UInt8](repeating: 0, count: reader.shape.byteCounts.rows)
        var momentum = [UInt8](repeating: 0, count: reader.shape.byteCounts.momentum)
        for chunk in 0..<reader.shape.chunkCount {
            let bytes = reader.shape.bytes(ofChunk: chunk)
            try rows[bytes.rows].withUnsafeMutableBytes { rows in
                try momentum[bytes.momentum].withUnsafeMutableBytes { momentum in
                    try reader.read(chunk: chunk, into: [rows, momentum])
                }
            }
        }
        return (rows, momentum)
    }

    static func bytes(_ path: String) throws -> [UInt8] { [UInt8](try Data(contentsOf: URL(fileURLWithPath: path))) }

    static func overwrite(_ path: String, _ bytes: [UInt8]) throws {
        try Data(bytes).write(to: URL(fileURLWithPath: path))
    }

    static func names(in directory: String) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: directory).sorted()
    }

    /// The code of what `body` throws, nil if it throws nothing.
    static func code(_ body: () throws -> Void) -> CenterStoreError.Code? { error(body)?.code }

    static func error(_ body: () throws -> Void) -> CenterStoreError? {
        do { try body() } catch { return error as? CenterStoreError }
        return nil
    }
}
