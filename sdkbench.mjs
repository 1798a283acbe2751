import { fork } from 'node:child_process'
const role=process.argv[2]
const url='ws://127.0.0.1:8097/ws'
const { connect } = await import('/tmp/sdk/dist/src/client/ringcast.js')
const N=Number(process.argv[3]??1e6)
if(role==='sub'){
  const c=await connect(url,{codec:'bytes'})
  let n=0,t0=0,gaps=0,last=0,bad=0
  const s=c.subscribe('bench',(m)=>{ if(n===0)t0=performance.now(); n++; if(m.seq!==last+1&&last)bad++; last=m.seq; if(n+gaps>=N){const dt=performance.now()-t0; console.log('sub',n,'gaps',gaps,'bad',bad,(n/dt*1000|0)+'/s'); process.send({done:1})} })
  s.on('gap',g=>gaps+=g.dropped)
  await s.ready; process.send({ready:1})
  process.on('message',()=>{c.close();process.exit()})
} else if(role==='pub'){
  const c=await connect(url,{codec:'bytes'})
  const payload=new Uint8Array(128)
  const mode=process.argv[4]
  const t0=performance.now()
  if(mode==='now'){
    for(let i=0;i<N;){ if(c.publishNow('bench',payload)){i++; if((i&1023)===0) await new Promise(r=>setImmediate(r))} else await new Promise(r=>c.once('drain',r)) }
  } else {
    let inflight=0, i=0
    await new Promise(done=>{ let acked=0; const go=()=>{ while(i<N&&inflight<8192){i++;inflight++; c.publish('bench',payload).then(()=>{inflight--;acked++; if(acked===N)done(); else if(inflight===4096)go()})}}; go() })
  }
  const dt=performance.now()-t0
  console.log('pub',mode,(N/dt*1000|0)+'/s')
  if(mode==='now') await new Promise(r=>setTimeout(r,8000))
  c.close(); process.exit()
} else {
  const mode=process.argv[4]??'now'
  const sub=fork('/tmp/sdk/sdkbench.mjs',['sub',String(N)])
  sub.on('message',m=>{ if(m.ready) fork('/tmp/sdk/sdkbench.mjs',['pub',String(N),mode]).on('exit',()=>setTimeout(()=>{sub.kill();process.exit()},500)) })
}
