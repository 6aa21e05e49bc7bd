import ArgumentParser
import ClusterHarness
import Foundation
import ProcessSupport

/// The training on faces that several experiments repeat.
struct FaceTraining: ParsableArguments {
    @Option(help: "A folder with train.rec.")
    var data =
        (ProcessInfo.processInfo.environment["DATA_DIR"] ?? "../shared/data") + "/celeba_faces112"

    @Option(help: "Number of steps.")
    var steps = 300

    @Option(help: "Number of slices.")
    var slices = 16

    @Option(help: "Samples of a global batch.")
    var batch = 48

    @Option(help: "Samples of a micro-batch.")
    var microBatch = 4

    /// Seconds after which a silent member counts as lost.
    static let lease = 2.0

    func validate() throws {
        guard FileManager.default.fileExists(atPath: data + "/train.rec") else {
            throw ValidationError("\(data) has no train.rec; name a folder with --data")
        }
    }

    /// Colour faces at 32×32 by a small IResNet: fast, and every kind of layer is in it.
    func configuration(slices: Int? = nil, microBatch: Int? = nil, exchange: String = "features") -> String {
        """
        data: {kind: rec, path: "\(data)", image_size: 32, channels: 3, minimum_images: 3, flip: true}
        backbone: {name: iresnet-small, embedding_size: 64, widths: [16, 24, 32, 48]}
        head: {scale: 32, m1: 1, m2: 0, m3: 0.2, sample_rate: 0.1, slices: \(slices ?? self.slices), exchange: \(exchange)}
        batch: {size: \(batch), micro_batch: \(microBatch ?? self.microBatch)}
        schedule: {steps: \(steps), learning_rate: 0.1}
        evaluation: {held_out_pairs: 0}
        cluster: {lease_seconds: \(Self.lease)}
        """
    }

    /// Trains to the end with nobody doing any harm, and says how fast that was.
    func undisturbed(
        _ world: TrainingRun.World, settings: [String] = [], seconds: Double
    ) throws -> TrainingRun {
        let run = try TrainingRun.run(
            configuration: configuration(), settings: settings, world: world, in: Experiments.directory("undisturbed"),
            seconds: seconds)
        Experiments.say("undisturbed: \(run.losses.count) steps, \(Units.fixed(run.stepsPerSecond, 1)) steps/s")
        return run
    }
}
