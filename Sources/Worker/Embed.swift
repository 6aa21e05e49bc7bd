import ArgumentParser
import Dataset
import Foundation
import ProcessSupport
import Verification

/// `worker embed`.
struct Embed: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "embed",
        abstract: "Write the embeddings of images to a file.",
        discussion: """
            Writes `.npy` (float32 [n, D]) or safetensors (`features` [n, D], and `labels` [n] if there are labels), and beside it \
            OUTPUT.names.tsv with label and name of each row. Embeddings are not normalised. The same command goes on after it was \
            killed: what is done is in OUTPUT.rows and OUTPUT.progress until the end.
            """)

    @Option(help: "The backbone: a safetensors or ONNX file.", completion: .file(extensions: ["safetensors", "onnx"]))
    var backbone: String

    @Option(
        help: """
            The images: a folder of them, a folder with a folder per identity, a train.rec or its folder, or a list (.txt, .tsv, .lst) \
            with a path in every line, after which a tab and a label may follow.
            """, completion: .file())
    var images: String

    @Option(help: "The file to write: .safetensors or .npy.", completion: .file())
    var output: String

    @Option(help: "What becomes of pixels: MEAN,SCALE[,RGB|BGR].")
    var preprocess = Preprocessing()

    @Flag(inversion: .prefixedNo, help: "Add the embedding of the mirror image.")
    var flip = true

    @Option(help: "Threads that compute.")
    var threads = min(1024, ProcessorCores.usableCount)

    func validate() throws {
        guard output.hasSuffix(".npy") || output.hasSuffix(".safetensors") else {
            throw ValidationError("--output \(output) ends neither in .safetensors nor in .npy")
        }
        if let problem = WritablePlace.problem(ofFile: output) {
            throw ValidationError("--output cannot be written: \(problem)")
        }
        guard (1...1024).contains(threads) else { throw ValidationError("--threads \(threads) is not in 1...1024") }
    }

    func run() throws {
        do { try embed() } catch {
            FileHandle.standardError.write(Data("worker embed: \(error)\n".utf8))
            throw ExitCode(70)
        }
    }

    private func embed() throws {
        let network = try LoadedBackbone(backbone, threads: threads)
        let images = try NamedImages(images, shape: network.shape)
        let work =
            "\(network.fingerprint) \(preprocess) flip \(flip) images \(images.source.sampleCount) \(String(images.fingerprint, radix: 16))"
        let file = try EmbeddingOutput(path: output, work: work)
        let total = images.source.sampleCount
        let done = min(file.count, total)
        if done > 0 { FileHandle.standardError.write(Data("going on after \(done) of \(total) images\n".utf8)) }
        var progress = CountProgress(total: total, noun: "images", done: done)
        try network.embedder(flips: flip, preprocessing: preprocess).embed(images.source, done..<total) {
            range, values in
            try file.append(values, size: values.count / range.count)
            progress.update(range.upperBound)
        }
        try file.finish(
            names: (0..<total).map(images.source.origin), labels: images.labels,
            metadata: ["preprocessing": "\(preprocess)", "flip": "\(flip)", "backbone": network.fingerprint])
        print("\(output): \(total) embeddings of \(file.size) values")
    }
}

/// Images with names, and labels if there are any.
struct NamedImages {
    let source: any ImageSource
    let labels: [Int64]?
    let fingerprint: UInt64

    init(_ path: String, shape: ImageShape) throws(DatasetError) {
        var isFolder: ObjCBool = false
        let isThere = FileManager.default.fileExists(atPath: path, isDirectory: &isFolder)
        if isThere, isFolder.boolValue, ListedImages.isFlat(folder: path) {
            let images = try ListedImages(folder: path, imageShape: shape)
            (source, labels, fingerprint) = (images, nil, images.fingerprint)
        } else if isThere, !isFolder.boolValue, !path.hasSuffix(".rec") {
            let images = try ListedImages(list: path, imageShape: shape)
            (source, labels, fingerprint) = (images, images.labels, images.fingerprint)
        } else {
            let dataset = try DatasetReader.open(path: path, options: DatasetOptions(imageShape: shape))
            source = dataset
            labels = (0..<dataset.sampleCount).map { Int64(dataset.label(of: $0)) }
            fingerprint = dataset.fingerprint
        }
    }
}
