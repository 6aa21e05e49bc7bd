import Foundation
import Model

/// The formulas in double precision, sample by sample and class by class: nothing shared with the engines.
struct Reference {
    var loss = 0.0
    var featureGradient: [Double] = []
    var rowGradients: [Double] = []
    /// Of every sample.
    var logZ: [Double] = []
    /// Of every sample that has a class.
    var targetLogits: [Double] = []

    /// - Parameters:
    ///   - labels: −1 for samples without class, which have no loss.
    ///   - margins: of every sample; those of the configuration if there are none.
    ///   - weights: of every sample's loss; 1 if there are none.
    init(
        _ configuration: HeadConfiguration, features: [Float], labels: [Int64], ids: [Int64], rows: [Float],
        margins: [HeadMargins] = [], weights: [Float] = []
    ) {
        let (size, batch, s) = (configuration.embeddingSize, labels.count, configuration.scale)
        let x = features.map(Double.init)
        let w = rows.map(Double.init)
        featureGradient = Array(repeating: 0, count: x.count)
        rowGradients = Array(repeating: 0, count: w.count)
        func norm(_ v: ArraySlice<Double>) -> Double { v.reduce(0) { $0 + $1 * $1 }.squareRoot() }
        for i in 0..<batch {
            let m = margins.isEmpty ? configuration.margins : margins[i]
            let weight = labels[i] < 0 ? 0 : weights.isEmpty ? 1 : Double(weights[i])
            let xi = x[i * size..<(i + 1) * size]
            let nx = norm(xi)
            var cosines: [Double] = []
            var logits: [Double] = []
            var slopes: [Double] = []
            for (j, id) in ids.enumerated() {
                let wj = w[j * size..<(j + 1) * size]
                let cosine = min(1, max(-1, zip(xi, wj).reduce(0) { $0 + $1.0 * $1.1 } / (nx * norm(wj))))
                cosines.append(cosine)
                if id == labels[i] {
                    let angle = acos(cosine)
                    logits.append(s * (cos(m.m1 * angle + m.m2) - m.m3))
                    slopes.append(m.m1 * sin(m.m1 * angle + m.m2) / sin(angle))
                } else if configuration.interclassFilter > 0, cosine > configuration.interclassFilter {
                    logits.append(0)
                    slopes.append(0)
                } else {
                    logits.append(s * cosine)
                    slopes.append(1)
                }
            }
            let top = logits.max() ?? 0
            let logZ = logits.isEmpty ? 0 : top + log(logits.reduce(0) { $0 + exp($1 - top) })
            self.logZ.append(logZ)
            for (j, id) in ids.enumerated() {
                if id == labels[i] { targetLogits.append(logits[j]) }
                if id == labels[i] { loss += weight * (logZ - logits[j]) / Double(batch) }
                let byLogit = weight * (exp(logits[j] - logZ) - (id == labels[i] ? 1 : 0)) / Double(batch)
                let byCosine = byLogit * s * slopes[j]
                let nw = norm(w[j * size..<(j + 1) * size])
                for d in 0..<size {
                    let (a, b) = (x[i * size + d] / nx, w[j * size + d] / nw)
                    featureGradient[i * size + d] += byCosine * (b - cosines[j] * a) / nx
                    rowGradients[j * size + d] += byCosine * (a - cosines[j] * b) / nw
                }
            }
        }
    }
}
