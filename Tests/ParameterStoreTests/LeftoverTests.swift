import Cluster
import Foundation
import ParameterStore
import TestSupport
import Testing

/// What no manifest names and nobody is writing is removed.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct LeftoverTests {
    typealias Fixture = StoreFixture

    private let shape = SliceShape(rowCount: 4, width: 2, chunkRows: 2)

    /// Snapshots that were finished and never installed, and copies that were called off.
    @Test func whatNobodyNeedsIsSwept() throws {
        let folder = try TemporaryFolder()
        let store = try Fixture.store(folder.path)
        try store.own(starting: [.centers(0), .centers(1)], mapVersion: 1, step: -1)
        let kept = try Fixture.snapshot(store, .centers(0), shape, steps: [0, 0], seed: 1)
        try store.install([.centers(0): kept])
        _ = try Fixture.snapshot(store, .centers(1), shape, steps: [0, 0], seed: 1)
        let writer = try store.beginSnapshot(.centers(1), shape: shape)
        let receipt = try store.beginReceiving(.centers(2), shape: shape)
        try receipt.append(Fixture.record(1))
        do {
            let other = try store.beginReceiving(.centers(3), shape: shape)
            try other.append(Fixture.record(1))
        }
        #expect(store.hasLeftovers)
        #expect(store.sweep() == 1)
        #expect(!store.hasLeftovers)
        let left = try Fixture.names(in: folder.path + "/snapshots")
        #expect(left.count == 3 && left.contains(kept.file), "\(left): the manifest's, and two that are being written")
        #expect(try Fixture.names(in: folder.path + "/received").count == 1)
        withExtendedLifetime((writer, receipt)) {}
    }

    /// A finished snapshot stays as long as its writer: it may be about to be installed.
    @Test func whatIsFinishedStaysWithItsWriter() throws {
        let folder = try TemporaryFolder()
        let store = try Fixture.store(folder.path)
        try store.own(starting: [.centers(0)], mapVersion: 1, step: -1)
        let writer = try store.beginSnapshot(.centers(0), shape: shape)
        try Fixture.write(shape, [0, 0], 1) { try writer.write(chunk: $0, step: $1, planes: [$2, $3]) }
        let reference = try writer.finish()
        #expect(store.sweep() == 0)
        try store.install([.centers(0): reference])
        #expect(store.sweep() == 0)
        #expect(try Fixture.names(in: folder.path + "/snapshots") == [reference.file])
        withExtendedLifetime(writer) {}
    }

    /// The manifest was put in its place, and only then could its directory not be synced: what it names stays.
    @Test func whatAnUnsettledManifestNamesStays() throws {
        let folder = try TemporaryFolder()
        defer { DiskFaults.shared.remove(path: folder.path) }
        do {
            let store = try Fixture.store(folder.path)
            try store.own(starting: [.centers(0)], mapVersion: 1, step: -1)
            let reference = try Fixture.snapshot(store, .centers(0), shape, steps: [-1, -1], seed: 1)
            DiskFaults.shared.add(.init(.sync, path: folder.path + "/", error: EIO, count: 2))
            // Once for the new manifest, once for its directory.
            #expect(Fixture.code { try store.install([.centers(0): reference]) } == .io)
            #expect(Fixture.code { try store.install([.centers(0): reference]) } == .io)
            store.sweep()
        }
        DiskFaults.shared.remove(path: folder.path)
        let store = try Fixture.store(folder.path)
        for slice in store.owned {
            if let snapshot = slice.source.snapshot { try store.openSnapshot(snapshot, of: slice.slice).verify() }
        }
    }

    /// More files than descriptors: each is closed when others need one, and opened again.
    @Test func aThousandSlicesNeedFewDescriptors() throws {
        let folder = try TemporaryFolder()
        let store = try Fixture.store(folder.path)
        let small = SliceShape(rowCount: 1, width: 1, chunkRows: 1)
        let pool = DescriptorPool.shared
        let writers = try (0..<2 * pool.limit).map { try store.beginSnapshot(.centers($0), shape: small) }
        #expect(pool.openCount <= pool.limit)
        let references = try writers.enumerated().map { index, writer in
            try Fixture.write(small, [0], UInt64(index)) {
                try writer.write(chunk: $0, step: $1, planes: [$2, $3])
            }
            return try writer.finish()
        }
        #expect(pool.openCount <= pool.limit)
        for (index, reference) in references.enumerated() {
            let read = try Fixture.contents(store.openSnapshot(reference, of: .centers(index)))
            try #require(read.rows == Fixture.values(4, seed: UInt64(index)))
        }
    }
}
