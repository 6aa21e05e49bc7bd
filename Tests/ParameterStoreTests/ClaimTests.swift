import Cluster
import Foundation
import ParameterStore
import TestSupport
import Testing

/// Shard servers that share a pool of directories.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct ClaimTests {
    private func claim(_ pool: String) throws -> ShardStore { try ShardStore.claim(in: pool, sync: .never).store }

    private func name(_ store: ShardStore) -> String { String(store.directory.split(separator: "/").last ?? "") }

    /// A directory that holds a slice.
    private func fill(_ store: ShardStore) throws {
        try store.adopt(StoreFixture.identity)
        try store.own(starting: [.centers(0)], mapVersion: 1, step: -1)
    }

    @Test func everyoneGetsOneOfItsOwn() throws {
        let folder = try TemporaryFolder()
        let stores = try (0..<3).map { _ in try claim(folder.path + "/pool") }
        #expect(stores.map(name) == ["shard-0", "shard-1", "shard-2"])
    }

    /// A lock that is not to be had closes its own file once, and nobody else's.
    @Test func aLockInUseClosesNothingElse() async throws {
        let folder = try TemporaryFolder()
        let user = try claim(folder.path)
        let directory = user.directory
        async let failures = Task.detached {
            (0..<20_000).count { _ in
                let file = open("/dev/null", O_RDONLY | O_CLOEXEC)
                defer { close(file) }
                return fcntl(file, F_GETFD) < 0
            }
        }.value
        for _ in 0..<5000 {
            #expect(throws: CenterStoreError.self) { try ShardStore(directory: directory, sync: .never) }
        }
        #expect(await failures == 0)
        withExtendedLifetime(user) {}
    }

    @Test func oneThatHoldsSlicesGoesFirst() throws {
        let folder = try TemporaryFolder()
        do {
            let stores = try (0..<12).map { _ in try claim(folder.path) }
            try fill(stores[11])
        }
        let first = try claim(folder.path)
        #expect(name(first) == "shard-11")
        #expect(first.identity == StoreFixture.identity)
        // Then those that were left empty, the first of them first.
        let second = try claim(folder.path)
        #expect(name(second) == "shard-0")
        #expect(try name(claim(folder.path)) == "shard-1")
        withExtendedLifetime((first, second)) {}
    }

    @Test func oneInUseIsLeftAlone() throws {
        let folder = try TemporaryFolder()
        let user = try claim(folder.path)
        try fill(user)
        #expect(try name(claim(folder.path)) == "shard-1")
        withExtendedLifetime(user) {}
    }

    @Test func whatIsNoShardsDirectoryIsLeftAlone() throws {
        let folder = try TemporaryFolder()
        for other in ["lost+found", "shard-", "shard-x", "shard-07", "shard--1", "shard-9223372036854775807"] {
            try FileManager.default.createDirectory(
                atPath: folder.path + "/" + other, withIntermediateDirectories: false)
        }
        #expect(try name(claim(folder.path)) == "shard-0")
    }

    /// Numbers in names are counted on.
    @Test func filesWithNumbersThatNobodyReachesAreNoFilesOfAShard() throws {
        let folder = try TemporaryFolder()
        do { try fill(try claim(folder.path)) }
        for name in ["steps.9223372036854775807.log", "steps.-00000000001.log"] {
            try StoreFixture.overwrite("\(folder.path)/shard-0/log/\(name)", [1, 2, 3])
        }
        #expect(try name(claim(folder.path)) == "shard-0")
    }

    /// One that is damaged keeps nobody from starting: it is named, and another is taken.
    @Test func aDamagedOneIsPassedOverWithItsName() throws {
        let folder = try TemporaryFolder()
        do {
            let stores = try (0..<3).map { _ in try claim(folder.path) }
            for store in stores { try fill(store) }
        }
        let path = folder.path + "/shard-0/manifest.json"
        let manifest = try StoreFixture.bytes(path)
        try StoreFixture.overwrite(path, [1, 2, 3])
        do {
            let (first, passedOver) = try ShardStore.claim(in: folder.path, sync: .never)
            #expect(name(first) == "shard-1")
            #expect(passedOver.map(\.directory) == [folder.path + "/shard-0"])
            #expect("\(passedOver)".contains(path) && "\(passedOver)".contains("is passed over"))
            let others = try (0..<2).map { _ in try claim(folder.path) }
            #expect(others.map(name) == ["shard-2", "shard-3"])
        }
        // It is taken again once it is whole.
        try StoreFixture.overwrite(path, manifest)
        #expect(try name(claim(folder.path)) == "shard-0")
    }

    /// What opening a directory does not show, its user notes.
    @Test func oneThatCouldNotBeLoadedIsPassedOver() throws {
        let folder = try TemporaryFolder()
        do {
            let store = try claim(folder.path)
            try fill(store)
            try store.setUnusable("a snapshot is damaged")
        }
        let (store, passedOver) = try ShardStore.claim(in: folder.path, sync: .never)
        #expect(name(store) == "shard-1")
        #expect(passedOver.count == 1 && "\(passedOver)".contains("a snapshot is damaged"))
        try FileManager.default.removeItem(atPath: folder.path + "/shard-0/unusable")
        #expect(try name(claim(folder.path)) == "shard-0")
    }

    @Test func whatIsGivenUpIsEmpty() throws {
        let folder = try TemporaryFolder()
        do {
            let store = try claim(folder.path)
            try store.giveEverythingUp()
            try fill(store)
            try store.append(StoreFixture.record(0))
            try store.giveEverythingUp()
        }
        let store = try claim(folder.path)
        #expect(!store.holdsSlices && store.newestStep == -1 && store.extra.isEmpty)
        // Another member may have it.
        var other = StoreFixture.identity
        other.member = 9
        try store.adopt(other)
        #expect(try name(claim(folder.path)) == "shard-1")
        withExtendedLifetime(store) {}
    }

    @Test func theWishToGoIsKept() throws {
        let folder = try TemporaryFolder()
        do {
            let store = try claim(folder.path)
            #expect(!store.isGoing)
            try store.setGoing(true)
        }
        let store = try claim(folder.path)
        #expect(store.isGoing)
        try store.setGoing(false)
        try store.setGoing(false)
        #expect(!store.isGoing)
    }
}
