import Cluster
import Determinism
import Foundation
import ParameterStore
import Tensors
import TestSupport
import Testing

@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct CheckpointTests {
    typealias Fixture = StoreFixture

    private func write(
        _ directory: String, step: Int = 4, format: TableFormat = .f32
    ) throws -> CheckpointManifest {
        let layout = try SliceLayout(classCount: 11, sliceCount: 2)
        let table = try CenterTable(
            layout: layout, embeddingSize: 3, format: format, slices: [0, 1], source: .random(seed: 5),
            parallel: ParallelBlocks(threads: 1))
        let writer = CheckpointWriter(directory: directory)
        var files = try (0..<2).map { try writer.write(slice: $0, of: table) }
        files.append(
            try writer.write(
                denseSlice: 0, planes: [Tensor([1, 2, 3] as [Float]), Tensor([4, 5, 6] as [Float])]))
        return CheckpointManifest(
            step: step, classVersion: 0, operations: "[]", configuration: "seed: 5", fingerprint: "f", sliceCount: 2,
            denseSliceCount: 1, classCount: 11, embeddingSize: 3, format: format, created: "2026-01-01T00:00:00Z",
            files: files)
    }

    private func read(_ reader: CheckpointReader, _ slice: SliceName, _ count: Int, width: Int) throws -> [Float] {
        var values = [Float](repeating: 0, count: 2 * count)
        try values.withUnsafeMutableBytes { all in
            try reader.read(
                slice, width: width,
                into: [all[..<(4 * count)], all[(4 * count)...]].map { UnsafeMutableRawBufferPointer(rebasing: $0) })
        }
        return values
    }

    @Test func slicesComeBack() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/at-4"
        let manifest = try write(path)
        #expect(Fixture.code { _ = try CheckpointReader(directory: path) } == .file)
        try manifest.write(to: path)
        let reader = try CheckpointReader(directory: path)
        #expect(reader.manifest == manifest)
        #expect(reader.verify() == [])
        #expect(try read(reader, .dense(0), 3, width: 1) == [1, 2, 3, 4, 5, 6])
        let file = try SafeTensors(contentsOf: reader.path(of: .centers(1)))
        #expect(file.tensors["ids"]?.array(Int64.self) == [5, 6, 7, 8, 9, 10])
        #expect(file.tensors["centers"]?.shape == [6, 3])
        let values = try read(reader, .centers(1), 18, width: 3)
        #expect(Array(values[..<18]) == file.tensors["centers"]?.array(Float.self))
        #expect(values[18...].allSatisfy { $0 == 0 } && values[..<18].contains { $0 != 0 })
        #expect(Fixture.code { _ = try read(reader, .centers(1), 15, width: 3) } == .file)
        #expect(Fixture.code { _ = try read(reader, .centers(2), 15, width: 3) } == .notHeld)
    }

    @Test(arguments: StoreFixture.formats) func everyFormatComesBack(format: TableFormat) throws {
        let folder = try TemporaryFolder()
        try write(folder.path, format: format).write(to: folder.path)
        let reader = try CheckpointReader(directory: folder.path)
        #expect(reader.manifest.format == format)
        #expect(reader.verify() == [])
        func table(_ format: TableFormat, _ source: CenterSource) throws -> CenterTable {
            try CenterTable(
                layout: SliceLayout(classCount: 11, sliceCount: 2), embeddingSize: 3, format: format, slices: [0, 1],
                source: source, parallel: ParallelBlocks(threads: 1))
        }
        func read(into table: CenterTable) throws {
            for slice in 0..<2 {
                try table.withRows(0..<table.rowCount(of: slice), of: slice) { planes in
                    try reader.read(
                        .centers(slice), width: 3, format: table.format, into: planes)
                }
            }
        }
        let parallel = ParallelBlocks(threads: 1)
        let restored = try table(format, .zeros)
        try read(into: restored)
        #expect(
            try restored.sliceHashes(parallel: parallel)
                == table(format, .random(seed: 5)).sliceHashes(parallel: parallel))
        for other in Fixture.formats where other != format {
            let error = Fixture.error { try read(into: table(other, .zeros)) }
            #expect(error?.code == .file && error?.message.contains("keeps \(format)") == true)
        }
    }

    @Test func aFlippedBitIsFound() throws {
        let folder = try TemporaryFolder()
        try write(folder.path).write(to: folder.path)
        let reader = try CheckpointReader(directory: folder.path)
        let path = try reader.path(of: .centers(0))
        let bytes = try Fixture.bytes(path)
        for offset in bytes.indices {
            var damaged = bytes
            damaged[offset] ^= 1 << UInt8(offset % 8)
            try Fixture.overwrite(path, damaged)
            let problems = reader.verify()
            try #require(problems.count == 1 && problems[0].contains(path), "bit at \(offset)")
            try #require(Fixture.code { _ = try read(reader, .centers(0), 15, width: 3) } == .damaged)
        }
        try FileManager.default.removeItem(atPath: path)
        #expect(reader.verify().count == 1)
        let manifest = folder.path + "/manifest.json"
        var text = try Fixture.bytes(manifest)
        text[text.count / 2] ^= 1
        try Fixture.overwrite(manifest, text)
        #expect(Fixture.code { _ = try CheckpointReader(directory: folder.path) } == .damaged)
    }

    @Test func aManifestNamesEverySliceOnce() throws {
        let folder = try TemporaryFolder()
        let whole = try write(folder.path)
        for change in [
            { $0.removeLast() }, { $0.append($0[0]) }, { $0[0].path = "../elsewhere" }, { $0[0].slice = .centers(7) },
        ] as [(inout [CheckpointManifest.File]) -> Void] {
            var manifest = whole
            change(&manifest.files)
            #expect(Fixture.code { try manifest.write(to: folder.path) } == .layout)
        }
        #expect(!FileManager.default.fileExists(atPath: folder.path + "/manifest.json"))
    }

    /// Whoever reads a manifest counts on its numbers.
    @Test func aManifestHasNoNumberThatCannotBe() throws {
        let folder = try TemporaryFolder()
        let whole = try write(folder.path)
        for change in [
            { $0.step = .max }, { $0.step = -2 }, { $0.classVersion = -1 }, { $0.classCount = 0 },
            { $0.embeddingSize = 0 }, { $0.embeddingSize = 1 << 62 }, { $0.files[0].bytes = .max },
            { $0.files[1].bytes = -1 }, { $0.jobFiles = [.init(name: "job/a", bytes: 1 << 60)] },
            { $0.rates = [.init(fromStep: .max, rule: .schedule)] },
            { $0.format = TableFormat(state: [Plane("../../evil", .f32)]) },
            { $0.denseFormat = TableFormat(rows: .int8, state: []) },
        ] as [(inout CheckpointManifest) -> Void] {
            var manifest = whole
            change(&manifest)
            #expect(Fixture.code { try manifest.write(to: folder.path) } == .layout)
            // Also one that somebody else has written.
            try ChecksummedJSON.write(manifest, to: folder.path + "/manifest.json")
            #expect(Fixture.code { _ = try CheckpointReader(directory: folder.path) } == .damaged)
        }
    }

    @Test func checkpointsAreListedAndRemoved() throws {
        let folder = try TemporaryFolder()
        for step in [9, 4] {
            try write("\(folder.path)/\(step)", step: step).write(to: "\(folder.path)/\(step)")
        }
        _ = try write("\(folder.path)/unfinished")
        _ = try folder.write([1], to: "damaged/manifest.json")
        _ = try folder.write([1], to: "4/notes.txt")
        let (found, problems) = try CheckpointReader.list(in: folder.path)
        #expect(found.map(\.manifest.step) == [4, 9])
        #expect(problems.count == 1)
        for name in ["4", "9", "unfinished", "none"] { try CheckpointReader.delete("\(folder.path)/\(name)") }
        #expect(try Fixture.names(in: folder.path) == ["4", "damaged"])
        #expect(try Fixture.names(in: folder.path + "/4") == ["notes.txt"])
    }

    @Test func whatIsMovedAsideReplacesNothing() throws {
        let folder = try TemporaryFolder()
        let place = "\(folder.path)/9"
        for _ in 0..<3 {
            try write(place, step: 9).write(to: place)
            _ = try CheckpointReader.moveAside(place)
        }
        #expect(try Fixture.names(in: folder.path) == ["9.abandoned", "9.abandoned-2", "9.abandoned-3"])
        #expect(try CheckpointReader.moveAside(place) == nil)
    }
}
