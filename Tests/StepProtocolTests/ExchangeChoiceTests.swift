internal import Cluster
internal import StepProtocol
import TestSupport
import Testing

@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct ExchangeChoiceTests {
    /// Few sampled rows and a large batch: pulling them is cheaper. Many rows: features are.
    @Test(arguments: [
        (batch: 1024, size: 512, rows: 300, workers: 1, shards: 2, exchange: Exchange.rows),
        (batch: 1024, size: 512, rows: 100_000, workers: 1, shards: 2, exchange: .features),
        (batch: 128, size: 512, rows: 1_000_000, workers: 4, shards: 8, exchange: .features),
        // The same sampled rows, and more workers that would each pull them.
        (batch: 512, size: 128, rows: 1_000, workers: 1, shards: 2, exchange: .rows),
        (batch: 512, size: 128, rows: 1_000, workers: 8, shards: 2, exchange: .features),
        // More shards get the features each.
        (batch: 512, size: 128, rows: 2_000, workers: 1, shards: 1, exchange: .features),
        (batch: 512, size: 128, rows: 2_000, workers: 1, shards: 8, exchange: .rows),
    ])
    func theOneThatMovesFewerBytes(
        _ run: (batch: Int, size: Int, rows: Int, workers: Int, shards: Int, exchange: Exchange)
    ) {
        let choice = ExchangeChoice.automatic(
            batch: run.batch, embeddingSize: run.size, sampledRows: run.rows, workers: run.workers, shards: run.shards,
            rowByteCount: 4 * run.size)
        #expect(choice.exchange == run.exchange, "\(choice.reason)")
    }

    @Test func theReasonGivesBothFigures() {
        let choice = ExchangeChoice.automatic(
            batch: 1_000, embeddingSize: 498, sampledRows: 10_000, workers: 2, shards: 2,
            rowByteCount: 4 * 498)
        // features: 4·1000·(2·(499 + 500) + 499) bytes; rows: 2·10000·(8·498 + 8) bytes.
        #expect(
            choice.reason
                == "features: features moves 10.0 MB per step, rows 79.8 MB (batch 1000, 10000 sampled rows of 498)")
    }
}
