internal import COneDNN
internal import Model

/// What every use of oneDNN shares.
enum OneDNN {
    /// - Throws: `BackboneError` unless `status` is success.
    static func check(_ status: dnnl_status_t, _ action: String) throws(BackboneError) {
        guard status == dnnl_success else {
            let reason =
                switch status {
                case dnnl_out_of_memory: "out of memory"
                case dnnl_invalid_arguments: "invalid arguments"
                case dnnl_unimplemented: "not implemented for this shape and processor"
                default: "status \(status.rawValue)"
                }
            throw BackboneError(.oneDNN, "oneDNN could not \(action): \(reason)")
        }
    }

    /// The one engine of the process, with exact float arithmetic (no silent bf16).
    static let engine: Result<Engine, BackboneError> = {
        do throws(BackboneError) { return .success(try Engine()) } catch { return .failure(error) }
    }()

    final class Engine: @unchecked Sendable {
        let handle: dnnl_engine_t
        /// Scratch memory is the caller's: primitives are shared by threads.
        let attributes: dnnl_primitive_attr_t

        init() throws(BackboneError) {
            var engine: dnnl_engine_t?
            try OneDNN.check(dnnl_engine_create(&engine, dnnl_cpu, 0), "create a CPU engine")
            handle = engine!
            var attributes: dnnl_primitive_attr_t?
            try OneDNN.check(dnnl_primitive_attr_create(&attributes), "create attributes")
            self.attributes = attributes!
            try OneDNN.check(
                dnnl_primitive_attr_set_scratchpad_mode(attributes, dnnl_scratchpad_mode_user),
                "set the scratchpad mode")
            try OneDNN.check(
                dnnl_primitive_attr_set_fpmath_mode(attributes, dnnl_fpmath_mode_strict), "set strict floats")
        }
    }

    /// A memory descriptor of numbers with extents `dims` in the layout `tag`.
    static func memory(
        _ dims: [Int], _ tag: dnnl_format_tag_t, _ type: dnnl_data_type_t = dnnl_f32
    ) throws(BackboneError) -> dnnl_memory_desc_t {
        var descriptor = dnnl_memory_desc_t()
        let extents = dims.map { dnnl_dim_t($0) }
        try check(
            dnnl_memory_desc_init_by_tag(&descriptor, Int32(dims.count), extents, type, tag),
            "describe memory \(dims)")
        return descriptor
    }
}
