//! COCO and PASCAL VOC detection evaluation, equal to the Python reference tools bit for bit.
//!
//! Three plain functions in a row, each consuming what the one before it returns:
//!
//! ```text
//! GroundTruth::load, Results::load   →  evaluate       →  CocoEvaluation::summary
//! CocoDataset::load, load_detections →  evaluate_coco  →  the same (records instead of columns)
//!                                    →  evaluate_voc      VOC07, VOC10; one IoU threshold
//! LvisTruth::load, Results::load     →  evaluate_lvis  →  LvisEvaluation::summary
//! ```
//!
//! Boxes, masks, boundaries of masks and keypoints ([`IouType`]). Beyond the numbers:
//! [`match_records`] (who matched whom), [`confusion_matrix`], [`tide`] (what kind of error costs
//! how much), [`bootstrap`] and [`compare_results`] (how sure is that), [`check`] (what is wrong
//! with the files). In a training loop, [`Results::extend`] takes batches as they come and
//! [`Results::merge`] those of other processes. [`Rle`] is the mask toolkit.
//!
//! Feature `cli` (a default) builds the binary `inscon-eval`; without default features the library
//! needs neither clap nor plotters.
//!
//! The oracle for COCO is pycocotools 2.0.11: `precision`, `recall` and `scores` are the same f64
//! in every element (`coco-semantics.md` lists what that takes). The oracle for VOC is
//! rbgirshick's `voc_eval`, as detectron2 uses it, on a stable sort.
//!
//! Boxes are COCO's `[x, y, width, height]` in f64, pixel edges; this is the only crate of the
//! workspace that uses that layout. The crate knows nothing of burn and imports no other crate of
//! the workspace: the judge shares no code with the judged. Results do not depend on the number
//! of rayon threads.
//!
//! ```
//! use inscon_eval::{Annotation, Category, CocoDataset, CocoParams, Detection, Image, IouType};
//!
//! let truth = CocoDataset {
//!     images: vec![Image { id: 1, file_name: "a.png".into(), width: 64, height: 48 }],
//!     annotations: vec![Annotation {
//!         id: 1,
//!         image_id: 1,
//!         category_id: 7,
//!         bbox: [4.0, 4.0, 20.0, 10.0],
//!         area: 200.0,
//!         ..Annotation::default()
//!     }],
//!     categories: vec![Category { id: 7, name: "window".into(), supercategory: None }],
//! };
//! let found = vec![Detection::of_box(1, 7, 0.9, [4.0, 4.0, 20.0, 10.0])];
//! let summary =
//!     inscon_eval::evaluate_coco(&truth, &found, &CocoParams::new(IouType::Bbox))?.summary();
//! assert!(summary.ap50 > 0.999);
//! assert_eq!(summary.ap_large, -1.0); // nothing to count
//! # Ok::<(), inscon_eval::EvalError>(())
//! ```

mod analysis;
mod check;
mod coco;
mod error;
mod json;
mod lvis;
mod sum;
mod voc;

pub use analysis::*;
pub use check::*;
use coco::by_score;
pub use coco::*;
pub use error::*;
pub use lvis::*;
pub use voc::*;
