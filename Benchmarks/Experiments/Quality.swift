import ArgumentParser
import ClusterHarness
import Foundation
import OperatorStatus
import ProcessSupport

/// `experiments quality`.
struct Quality: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract:
            "Train the demo's data with rows and momentum in fewer bits: loss and accuracy on classes never trained on.",
        discussion: "Rows rounded to the nearest are there to compare: they lose the smallest updates.")

    @Option(help: "A file that `worker glyphs` wrote; made if it is not there.") var glyphs = "demo/glyphs.cache"
    @Option(help: "The demo's configuration.") var demo = "examples/glyphs.yaml"
    @Option(help: "Steps of every run; 0: those of the configuration.") var steps = 0
    @Option(help: "The learning rate; 0: that of the configuration.") var learningRate = 0.0
    @Option(help: "A file for the loss of every step, as CSV.") var curves = "bench/quality.csv"

    func run() throws {
        if !FileManager.default.fileExists(atPath: glyphs) {
            try FileManager.default.createDirectory(
                at: URL(filePath: glyphs).deletingLastPathComponent(), withIntermediateDirectories: true)
            let process = try Process.run(
                LocalCluster.builtBinaries.appending(path: "worker"), arguments: ["glyphs", "--output", glyphs])
            process.waitUntilExit()
        }
        let text = try String(contentsOfFile: demo, encoding: .utf8)
        var table = TextTable(["rows/momentum", "loss, last tenth", "accuracy", "steps/s"])
        var losses: [[Double]] = []
        for kind in RowNumbers.compared {
            let directory = Experiments.directory("quality")
            defer { try? FileManager.default.removeItem(at: directory) }
            var settings = ["data.path=\(URL(filePath: glyphs).path)", "evaluation.every=0"] + kind.settings
            if steps > 0 { settings.append("schedule.steps=\(steps)") }
            if learningRate > 0 { settings.append("schedule.learning_rate=\(learningRate)") }
            let cluster = try LocalCluster(directory: directory)
            defer { cluster.stop() }
            try cluster.start(configuration: text, settings: settings, world: .init(shards: 2, workers: 2))
            try cluster.waitUntilFinished(seconds: 3600)
            let evaluated = try cluster.waitForStatus("the backbone is evaluated", seconds: 600) { status in
                status.evaluations.contains { $0.step == status.committed }
            }
            let run = try TrainingRun(of: cluster)
            let lines = try RecordedStep.all(in: directory)
            losses.append(lines.compactMap(\.loss))
            table.add([
                kind.name, Units.fixed(run.finalLoss, 3), accuracy(evaluated), Units.fixed(run.stepsPerSecond, 1),
            ])
            Experiments.note("\(kind.name): loss \(run.finalLoss)")
        }
        Experiments.say(table.render())
        try writeCurves(losses)
    }

    /// On held-out pairs.
    private func accuracy(_ status: ClusterStatus) -> String {
        status.evaluations.last?.values["accuracy"].map { Units.fixed($0 * 100, 2) + " %" } ?? "-"
    }

    private func writeCurves(_ losses: [[Double]]) throws {
        let file = URL(filePath: curves)
        try FileManager.default.createDirectory(
            at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
        var text = "step,\(RowNumbers.compared.map(\.name).joined(separator: ","))\n"
        for step in 0..<(losses.map(\.count).min() ?? 0) {
            text += "\(step),\(losses.map { "\($0[step])" }.joined(separator: ","))\n"
        }
        try text.write(to: file, atomically: true, encoding: .utf8)
        Experiments.say("the losses are in \(curves)")
    }
}
