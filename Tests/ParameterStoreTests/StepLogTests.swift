import Cluster
import Foundation
import ParameterStore
import TestSupport
import Testing

@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct StepLogTests {
    typealias Fixture = StoreFixture

    @Test func recordsComeBackBitByBit() throws {
        let folder = try TemporaryFolder()
        let records = (0..<5).map { Fixture.record($0, size: 1 + $0) }
        do {
            let store = try Fixture.store(folder.path)
            for record in records { try store.append(record) }
            #expect(try Fixture.texts(store.records(after: -1)) == records.map(Fixture.text))
            #expect(try Fixture.texts(store.records(after: 1, upTo: 3)) == records[2...3].map(Fixture.text))
        }
        let store = try Fixture.store(folder.path)
        #expect(store.newestStep == 4)
        #expect(store.oldestLoggedStep == 0)
        #expect(store.tornTail == nil)
        #expect(try Fixture.texts(store.records(after: -1)) == records.map(Fixture.text))
        #expect(try store.record(after: 2).map(Fixture.text) == Fixture.text(records[3]))
        #expect(try store.record(after: 4) == nil)
    }

    /// Tensors of a record stay as they are while the cursor goes on.
    @Test func heldRecordsAreNotOverwritten() throws {
        let folder = try TemporaryFolder()
        let store = try Fixture.store(folder.path)
        for step in 0..<4 { try store.append(Fixture.record(step)) }
        var cursor = store.records(after: -1)
        let first = try #require(try cursor.next())
        while try cursor.next() != nil {}
        #expect(Fixture.text(first) == Fixture.text(Fixture.record(0)))
    }

    @Test func laterRecordsSupersedeEarlierOnes() throws {
        let folder = try TemporaryFolder()
        func check(_ store: ShardStore, _ expected: [String]) throws {
            #expect(try Fixture.names(store) == expected)
        }
        do {
            let store = try Fixture.store(folder.path)
            for step in 0..<6 { try store.append(Fixture.record(step)) }
            try store.append(Fixture.record(5, attempt: 1))
            try check(store, ["0.0", "1.0", "2.0", "3.0", "4.0", "5.1"])
            try store.append(Fixture.record(3, attempt: 2))
            try check(store, ["0.0", "1.0", "2.0", "3.2"])
            try store.append(Fixture.classes(3, version: 1))
            try store.append(Fixture.classes(3, version: 2))
            try store.append(Fixture.classes(3, version: 2))
            try check(store, ["0.0", "1.0", "2.0", "3.2", "3+1", "3+2"])
            try store.append(Fixture.record(4))
            try store.append(Fixture.classes(3, version: 3))
            try check(store, ["0.0", "1.0", "2.0", "3.2", "3+1", "3+2", "3+3"])
            try store.append(Fixture.classes(3, version: 1))
            try check(store, ["0.0", "1.0", "2.0", "3.2", "3+1"])
        }
        try check(try Fixture.store(folder.path), ["0.0", "1.0", "2.0", "3.2", "3+1"])
    }

    @Test func goingBackForgetsLaterSteps() throws {
        let folder = try TemporaryFolder()
        do {
            let store = try Fixture.store(folder.path, sync: .always, segmentByteLimit: 1000)
            try store.append(Fixture.classes(-1, version: 1))
            for step in 0..<8 { try store.append(Fixture.record(step)) }
            try store.append(Fixture.record(2, attempt: 1))
            for step in 3..<7 { try store.append(Fixture.record(step, attempt: 1)) }
            try store.append(Fixture.classes(4, version: 2))
            try store.truncate(after: 4, classVersion: 1)
            #expect(store.newestStep == 4)
            #expect(store.durableStep == 4)
            #expect(try Fixture.names(store) == ["-1+1", "0.0", "1.0", "2.1", "3.1", "4.1"])
        }
        do {
            let store = try Fixture.store(folder.path, segmentByteLimit: 1000)
            #expect(try Fixture.names(store) == ["-1+1", "0.0", "1.0", "2.1", "3.1", "4.1"])
            try store.append(Fixture.record(5, attempt: 2))
            try store.truncate(after: -2)
            #expect(try Fixture.names(store) == [])
            try store.append(Fixture.record(0, attempt: 3))
        }
        #expect(try Fixture.names(try Fixture.store(folder.path)) == ["0.3"])
    }

    @Test func droppingRemovesWholeFiles() throws {
        let folder = try TemporaryFolder()
        let shape = SliceShape(rowCount: 4, width: 2, chunkRows: 2)
        do {
            let store = try Fixture.store(folder.path, segmentByteLimit: 1200)
            try store.own(starting: [.centers(0)], mapVersion: 1, step: -1)
            for step in 0..<20 { try store.append(Fixture.record(step)) }
            #expect(Fixture.code { try store.dropLog(before: 1) } == .notHeld)
            let snapshot = try Fixture.snapshot(store, .centers(0), shape, steps: [9, 11], seed: 1)
            try store.install([.centers(0): snapshot])
            #expect(store.oldestNeededStep == 10)
            let before = store.logByteCount
            try store.dropLog(before: store.oldestNeededStep)
            #expect(store.logByteCount < before)
            let oldest = try #require(store.oldestLoggedStep)
            #expect(oldest > 5 && oldest <= 10)
        }
        let store = try Fixture.store(folder.path, segmentByteLimit: 1200)
        #expect(try Fixture.texts(store.records(after: 9)) == (10..<20).map { Fixture.text(Fixture.record($0)) })
        #expect(Fixture.code { try store.truncate(after: 10) } == .notHeld)
        try store.truncate(after: 11)
        #expect(store.newestStep == 11)
    }

    @Test func syncModesSayWhatIsDurable() throws {
        let folder = try TemporaryFolder()
        for mode in ShardStore.SyncMode.allCases {
            let path = "\(folder.path)/\(mode.rawValue)"
            do {
                let store = try Fixture.store(path, sync: mode)
                for step in 0..<3 { try store.append(Fixture.record(step)) }
                #expect(store.durableStep == (mode == .interval ? -1 : 2))
                try store.sync()
                #expect(store.durableStep == 2)
                try store.append(Fixture.record(2, attempt: 1))
                #expect(store.durableStep == (mode == .interval ? 1 : 2))
            }
            // Opening syncs: what only the system's memory had is on the disk then.
            #expect(try Fixture.store(path, sync: mode).durableStep == 2)
        }
    }

    @Test func theIntervalSyncsByItself() throws {
        let folder = try TemporaryFolder()
        let store = try ShardStore(directory: folder.path, sync: .interval, syncInterval: .milliseconds(1))
        try store.adopt(Fixture.identity)
        try store.append(Fixture.record(0))
        let deadline = Date(timeIntervalSinceNow: 60)
        while store.durableStep != 0 && Date() < deadline { Thread.sleep(forTimeInterval: 0.001) }
        #expect(store.durableStep == 0)
        #expect(store.syncProblem == nil)
    }
}
