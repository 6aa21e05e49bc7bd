import Dataset
import Foundation
import Tensors

/// A number that differs when the bytes of a file do.
enum FileFingerprint {
    /// - Throws: `SafeTensorsError` if the file cannot be read.
    static func of(_ path: String) throws(SafeTensorsError) -> String {
        do {
            let data = try Data(contentsOf: URL(fileURLWithPath: path), options: .mappedIfSafe)
            return data.withUnsafeBytes { String(ContentFingerprint.of($0), radix: 16) }
        } catch { throw SafeTensorsError(path: path, problem: "cannot be read: \(error.localizedDescription)") }
    }
}
