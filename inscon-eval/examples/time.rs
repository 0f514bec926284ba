//! Times the stages of a whole evaluation.
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let iou = match args[3].as_str() { "segm" => inscon_eval::IouType::Segm, _ => inscon_eval::IouType::Bbox };
    let t = std::time::Instant::now();
    let truth = inscon_eval::GroundTruth::load(&args[1], iou).unwrap();
    eprintln!("truth {:?}", t.elapsed());
    let t1 = std::time::Instant::now();
    let results = inscon_eval::Results::load(&args[2], iou).unwrap();
    eprintln!("results {:?}", t1.elapsed());
    let t2 = std::time::Instant::now();
    let e = inscon_eval::evaluate(&truth, &results, &inscon_eval::CocoParams::new(iou)).unwrap();
    eprintln!("evaluate {:?}", t2.elapsed());
    let t3 = std::time::Instant::now();
    let s = e.summary();
    eprintln!("summary {:?}, total {:?}", t3.elapsed(), t.elapsed());
    print!("{}", s.to_string().lines().next().unwrap());
}
