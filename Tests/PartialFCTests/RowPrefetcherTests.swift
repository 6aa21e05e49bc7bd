import Cluster
import Determinism
import Dispatch
import ParameterStore
import PartialFC
import TestSupport
import Testing

@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct RowPrefetcherTests {
    /// While a log is replayed one step begins as soon as another is over, and nobody says stop.
    @Test func aNewStepSupersedesTheOneBefore() throws {
        let folder = try TemporaryFolder()
        let layout = try SliceLayout(classCount: 4000, sliceCount: 4)
        let table = try CenterTable(
            layout: layout, embeddingSize: 64, memory: .files(in: folder.path), slices: [0, 1, 2, 3],
            parallel: ParallelBlocks(threads: 1))
        let sampler = ClassSampler(layout: layout, seed: 1, sampleRate: 0.5)
        let prefetcher = RowPrefetcher()
        prefetcher.queue.suspend()
        for step in 0..<10 { prefetcher.start(sampler, table: table, slices: [0, 1, 2, 3], step: step) }
        prefetcher.queue.resume()
        prefetcher.queue.sync {}
        #expect(prefetcher.askedSlices == 4)
        prefetcher.queue.suspend()
        prefetcher.start(sampler, table: table, slices: [0, 1, 2, 3], step: 10)
        prefetcher.stop()
        prefetcher.queue.resume()
        prefetcher.queue.sync {}
        #expect(prefetcher.askedSlices == 4)
    }
}
