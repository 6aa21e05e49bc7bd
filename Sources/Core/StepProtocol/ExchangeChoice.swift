public import Cluster

/// Chooses the exchange of a run by the bytes it moves.
///
/// The choice is made once, from the configuration and not from the world of the moment: both exchanges give the same
/// bits, so that a world that changes costs time at worst.
public enum ExchangeChoice {
    /// The exchange that moves fewer bytes in a step, and a sentence that says why.
    ///
    /// - Parameters:
    ///   - batch: samples B in the global batch.
    ///   - embeddingSize: dimension D.
    ///   - sampledRows: rows S sampled in a step over all shards.
    ///   - workers: workers W expected.
    ///   - shards: shards expected.
    ///   - rowByteCount: of a row as it is pulled.
    ///   - subtrees: partial results K that a shard sends per sample; 1 when its slices are one subtree.
    public static func automatic(
        batch: Int, embeddingSize: Int, sampledRows: Int, workers: Int, shards: Int, rowByteCount: Int,
        subtrees: Int = 1
    ) -> (exchange: Exchange, reason: String) {
        let features = featuresBytes(batch: batch, embeddingSize: embeddingSize, shards: shards, subtrees: subtrees)
        let rows = rowsBytes(
            embeddingSize: embeddingSize, sampledRows: sampledRows, workers: workers, rowByteCount: rowByteCount)
        let exchange: Exchange = features <= rows ? .features : .rows
        let figures = "features moves \(megabytes(features)) per step, rows \(megabytes(rows))"
        return (exchange, "\(exchange): \(figures) (batch \(batch), \(sampledRows) sampled rows of \(embeddingSize))")
    }

    /// Bytes per step of `features`: to each shard the features (D per sample) and log-normalizers (2, they are f64); back K partial
    /// softmaxes (D + 2), and once over all shards the target's part (D + 1).
    static func featuresBytes(batch: Int, embeddingSize: Int, shards: Int, subtrees: Int) -> Double {
        let perShard = Double(embeddingSize + 2) + Double(subtrees) * Double(embeddingSize + 2)
        return 4 * Double(batch) * (Double(shards) * perShard + Double(embeddingSize + 1))
    }

    /// Bytes per step of `rows`: every worker pulls each sampled row with its id and pushes a gradient f32 for it.
    static func rowsBytes(embeddingSize: Int, sampledRows: Int, workers: Int, rowByteCount: Int) -> Double {
        Double(workers) * Double(sampledRows) * Double(rowByteCount + 8 + 4 * embeddingSize)
    }

    private static func megabytes(_ bytes: Double) -> String {
        let tenths = Int((bytes / 1e5).rounded())
        return "\(tenths / 10).\(tenths % 10) MB"
    }
}
