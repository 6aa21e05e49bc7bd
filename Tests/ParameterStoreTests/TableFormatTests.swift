import Cluster
import Determinism
import Foundation
import ParameterStore
import Tensors
import TestSupport
import Testing

/// Tables in every format.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct TableFormatTests {
    typealias Fixture = StoreFixture
    private let parallel = ParallelBlocks(threads: 2)

    private func table(
        _ format: TableFormat, classes: Int = 101, size: Int = 13, source: CenterSource = .random(seed: 4)
    ) throws -> CenterTable {
        try CenterTable(
            layout: SliceLayout(classCount: classes, sliceCount: 4), embeddingSize: size, format: format,
            slices: [0, 1, 2, 3], source: source, parallel: parallel)
    }

    /// The values of a row as a table of `format` has them, from those that it was filled with.
    private func kept(_ values: [Float], _ format: NumberFormat) -> [Float] {
        var encoded = [UInt8](repeating: 0, count: 4 * values.count + 8)
        var decoded = values
        encoded.withUnsafeMutableBytes { bytes in
            guard let base = bytes.baseAddress else { return }
            format.encode(values, count: 1, width: values.count, to: base)
            format.decode(base, count: 1, width: values.count, to: &decoded)
        }
        return decoded
    }

    private func write(_ path: String, classes: Int, size: Int) throws -> (rows: [[Float]], momentum: [[Float]]) {
        func values(_ sign: Float) -> [[Float]] {
            (0..<classes).map { row in
                (0..<size).map { sign * (1 + Float(row)) * (0.1 + Float($0 * $0 % 11)) / 7 }
            }
        }
        let (rows, momentum) = (values(1), values(-0.01))
        try SafeTensors(tensors: [
            "centers": Tensor(rows.flatMap { $0 }, shape: [classes, size]),
            "momentum": Tensor(momentum.flatMap { $0 }, shape: [classes, size]),
        ]).write(to: path)
        return (rows, momentum)
    }

    @Test(arguments: StoreFixture.formats) func rowsAreRounded(format: TableFormat) throws {
        let exact = try self.table(.f32).read(ids: [0, 40, 100]).rows
        let table = try self.table(format)
        #expect(table.format == format)
        #expect(table.memoryByteCount == 101 * format.byteCount(width: 13))
        #expect(table.chunkRows == (4 << 20) / format.byteCount(width: 13))
        let read = try table.read(ids: [0, 40, 100])
        #expect(read.rows.dtype == .f32 && read.rows.shape == [3, 13] && read.momentum.shape == [3, 13])
        #expect(
            read.rows.array(Float.self)
                == (0..<3).flatMap { kept(Array(exact.rows($0..<$0 + 1).array(Float.self)), format.rows) })
        #expect(read.momentum.array(Float.self).allSatisfy { $0 == 0 })
        #expect(try table.read(ids: []).rows.shape == [0, 13])
    }

    @Test(arguments: StoreFixture.formats) func filesAreEncodedAndPiecesCopied(format: TableFormat) throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/c.safetensors"
        let values = try write(path, classes: 101, size: 13)
        let table = try self.table(format, source: .safeTensors(path: path))
        let read = try table.read(ids: (0..<101).map(Int64.init))
        #expect(read.rows.array(Float.self) == values.rows.flatMap { kept($0, format.rows) })
        #expect(read.momentum.array(Float.self) == values.momentum.flatMap { kept($0, format.momentum) })
        // A copy of the pieces is a copy of the table.
        let copy = try self.table(format, source: .zeros)
        for slice in 0..<4 {
            for chunk in 0..<table.chunkCount(of: slice) {
                try table.withChunk(chunk, of: slice) { planes in
                    #expect(planes[1].count == table.rowCount(of: slice) * format.momentum.byteCount(width: 13))
                    try copy.withChunk(chunk, of: slice) {
                        for (target, source) in zip($0, planes) {
                            target.copyMemory(from: UnsafeRawBufferPointer(source))
                        }
                    }
                }
            }
        }
        let hashes = table.sliceHashes(parallel: parallel)
        #expect(copy.sliceHashes(parallel: parallel) == hashes)
        #expect(try self.table(format).sliceHashes(parallel: parallel) != hashes)
    }

    @Test(arguments: StoreFixture.formats) func growthKeepsWhatIsThere(format: TableFormat) throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/c.safetensors"
        _ = try write(path, classes: 101, size: 13)
        let table = try self.table(format, source: .safeTensors(path: path))
        let ids = (0..<101).map(Int64.init)
        let before = try table.read(ids: ids)
        try table.grow(to: table.layout.adding(20), rows: nil, seed: 4, parallel: parallel)
        let new = Tensor((0..<7 * 13).map { Float($0) / 3 }, shape: [7, 13])
        try table.grow(to: table.layout.adding(7), rows: new, seed: 4, parallel: parallel)
        let after = try table.read(ids: ids)
        #expect(after.rows.array(Float.self) == before.rows.array(Float.self))
        #expect(after.momentum.array(Float.self) == before.momentum.array(Float.self))
        // The added ones are those of a table that had them from the beginning.
        let added = try table.read(ids: (101..<121).map(Int64.init))
        let whole = try self.table(format, classes: 121).read(ids: (101..<121).map(Int64.init))
        #expect(added.rows.array(Float.self) == whole.rows.array(Float.self))
        let last = try table.read(ids: (121..<128).map(Int64.init))
        #expect(
            last.rows.array(Float.self)
                == (0..<7).flatMap { kept(new.rows($0..<$0 + 1).array(Float.self), format.rows) })
        #expect(last.momentum.array(Float.self).allSatisfy { $0 == 0 })
        #expect(table.memoryByteCount == 128 * format.byteCount(width: 13))
    }

    @Test func whatDoesNotFitIsRefused() throws {
        for rows in [NumberFormat.int8, .none] {
            #expect(Fixture.code { _ = try self.table(TableFormat(rows: rows, momentum: .f32)) } == .layout)
        }
        let bf16 = TableFormat(rows: .bf16, momentum: .f32)
        let table = try self.table(bf16)
        let hashes = table.sliceHashes(parallel: parallel)
        var values = [Float](repeating: 1, count: 2 * 13)
        values[20] = .greatestFiniteMagnitude
        let error = Fixture.error {
            try table.grow(
                to: table.layout.adding(2), rows: Tensor(values, shape: [2, 13]), seed: 4, parallel: parallel)
        }
        #expect(error?.message.contains("row 1") == true && error?.message.contains("bf16") == true)
        #expect(table.sliceHashes(parallel: parallel) == hashes)
    }

    /// Slices of a few megabytes are mapped: where huge pages begin, before and after they grow.
    @Test func largeSlicesAreAligned() throws {
        for (classes, added) in [(9000, 3000), (40, 20_000), (1200, 30_000), (9000, 90_000)] {
            let table = try CenterTable(
                layout: SliceLayout(classCount: classes, sliceCount: 2), embeddingSize: 128,
                format: TableFormat(momentum: .int8), slices: [0, 1], source: .random(seed: 1), parallel: parallel)
            let ids = Array(stride(from: Int64(0), to: Int64(classes), by: 7))
            let before = try table.read(ids: ids).rows.array(Float.self)
            func check() {
                for slice in 0..<2 {
                    guard let memory = table.memory(of: slice) else { continue }
                    for buffer in memory.planes {
                        let alignment: UInt = buffer.byteCount >= 2 << 20 ? 2 << 20 : 64
                        #expect(UInt(bitPattern: buffer.base) % alignment == 0)
                    }
                    #expect(memory.rows.byteCount == memory.rowCount * 512)
                }
            }
            check()
            try table.grow(to: table.layout.adding(added), rows: nil, seed: 1, parallel: parallel)
            check()
            #expect(try table.read(ids: ids).rows.array(Float.self) == before)
            let last = Int64(classes + added - 1)
            #expect(try table.read(ids: [last]).momentum.array(Float.self).allSatisfy { $0 == 0 })
        }
    }
}
