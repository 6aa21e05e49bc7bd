import Cluster
import Foundation
import PartialFC
import Tensors

/// Writes the tensors of every step of this rank as safetensors: `step-3-sample-17.safetensors`, where 17 is the rank's
/// first sample. Nothing is written for a rank without samples.
struct StepRecorder {
    let directory: String

    /// - Throws: `SafeTensorsError` if the file cannot be written.
    func record(
        _ id: StepID, samples: [Int], labels: Tensor, features: Tensor, output: WorkerHead.Output
    ) throws {
        guard !samples.isEmpty else { return }
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        let file = SafeTensors(
            tensors: [
                "samples": Tensor(samples.map(Int64.init)), "labels": labels, "features": features,
                "log_normalizer": output.logZ, "target_logit": output.targetLogit, "loss": output.losses,
                "grad_features": output.featureGradient,
            ], metadata: ["step": "\(id.step)", "attempt": "\(id.attempt)"])
        try file.write(to: "\(directory)/step-\(id.step)-sample-\(samples[0]).safetensors")
    }
}
