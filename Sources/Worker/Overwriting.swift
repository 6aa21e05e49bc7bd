import ArgumentParser
import Foundation

/// Outputs that are inputs, or each other.
enum Overwriting {
    /// - Parameters:
    ///   - outputs: options and the files that they name, if any.
    ///   - inputs: files that are read.
    /// - Throws: `ValidationError` if a file would be written over.
    static func refuse(_ outputs: [(option: String, path: String?)], inputs: [String?]) throws {
        let read = Set(inputs.compactMap { $0.map(place) })
        var written: [String: String] = [:]
        for case (let option, let path?) in outputs {
            let file = place(path)
            guard !read.contains(file) else {
                throw ValidationError("\(option) \(path) is what is read; choose another name")
            }
            if let other = written.updateValue(option, forKey: file) {
                throw ValidationError("\(option) and \(other) are one file, \(path)")
            }
        }
    }

    /// One name for one file, by whatever way it is reached.
    private static func place(_ path: String) -> String {
        URL(filePath: path).standardizedFileURL.resolvingSymlinksInPath().path
    }
}
